// What `mnist-cnn export --web` wrote: what the model is, the numbers of the Python modules, by module, and the bytes of
// each file that is loaded.

const answer = await fetch(new URL("../model.json", import.meta.url));

/** @type {{model: object, constants: Object<string, Object<string, number | number[]>>, downloads: Object<string, number>}} */
export const { model, constants, downloads } = await answer.json();
