// The numbers of the Python modules, by module, as `mnist-cnn export --web` wrote them; and what the model is.

const answer = await fetch(new URL("../model.json", import.meta.url));

/** @type {{model: object, constants: Object<string, Object<string, number | number[]>>}} */
export const { model, constants } = await answer.json();
