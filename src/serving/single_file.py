"""The page without a server in one .html, which opens by double click: modules, networks and runtime are inside it.

A page that was opened from a file may load no modules. So each module becomes a function that is called with what loads
the others, and what would be fetched is kept as base64 in the page.
"""

import gzip
import hashlib
import json
import re
from base64 import b64encode
from pathlib import Path

BUNDLE = "ort.wasm.bundle.min.mjs"  # ONNX Runtime Web with its glue, in one module
POLICY = (
    "default-src 'none'; script-src {script} 'wasm-unsafe-eval'; style-src {style}; img-src blob: data:; "
    "worker-src blob:; base-uri 'none'; form-action 'none'"
)
LOADER = """
const $made = {}, $loaded = {};
const $load = (path) => ($loaded[path] ??= $made[path]());
const $at = (path, base) => new URL(path, `file:///${base}`).pathname.slice(1);
const $unpacked = (text) => new Response(Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0)))
  .body.pipeThrough(new DecompressionStream("gzip"));
"""
PAGE = """
const inline = (path) => new Response($unpacked(document.getElementById(path).textContent));
const program = document.currentScript.textContent;
const listen = `await new Promise((done) => {
  addEventListener("message", ({ data }) => done((self.inline = (path) => new Response(data[path]))), { once: true });
});`;
function startWorker() {
  const modules = program.slice(0, program.indexOf("\\n// The page itself."));
  const source = `(async () => { ${modules}\n${listen}\nawait $load("web/local/worker.js"); })();`;
  const worker = new Worker(URL.createObjectURL(new Blob([source], { type: "text/javascript" })));
  const files = [...document.querySelectorAll("script[type='application/octet-stream']")].map(({ id }) => id);
  const contents = files.map(async (path) => [path, await inline(path).arrayBuffer()]);
  Promise.all(contents).then((all) => worker.postMessage(Object.fromEntries(all)));
  return worker;
}
self.inline = inline;
$load("web/app.js");
"""


def pack(folder: Path, package: Path) -> str:
    """Return the page of a folder that `static_page.write_page` wrote as one file; the npm package has the runtime."""
    web = folder / "web"
    modules = {path.relative_to(folder).as_posix(): path.read_text("utf-8") for path in sorted(web.rglob("*.js"))}
    modules["web/ort/ort.wasm.min.mjs"] = (package / "dist" / BUNDLE).read_text("utf-8")
    functions = "\n".join(as_function(path, text) for path, text in modules.items())
    script = f"{LOADER}\n{functions}\n// The page itself.\n{PAGE}"
    assert "</script" not in script
    style = (web / "style.css").read_text("utf-8")
    data = [path for path in sorted(web.rglob("*")) if path.suffix in (".json", ".onnx", ".png", ".xz")]
    blocks = "\n".join(
        f'<script type="application/octet-stream" id="{path.relative_to(folder).as_posix()}">{packed(path)}</script>'
        for path in data
    )
    html = re.sub(r' *<(meta http-equiv|link rel="stylesheet"|script)[^>]*>(</script>)?\n', "", read(folder))
    icon = "data:image/svg+xml;base64," + b64encode((web / "icon.svg").read_bytes()).decode()
    policy = POLICY.format(script=digest(script), style=digest(style))
    head = f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n  <style>{style}</style>\n</head>'
    html = html.replace("web/icon.svg", icon).replace("</head>", head, 1)
    return html.replace("</body>", f"{blocks}\n<script>{script}</script>\n</body>", 1)


def read(folder: Path) -> str:
    """Read the page itself."""
    return (folder / "index.html").read_text("utf-8")


def packed(path: Path) -> str:
    """Compress a file, once more if it is, and encode it as base64."""
    return b64encode(gzip.compress(path.read_bytes(), mtime=0)).decode()


def digest(text: str) -> str:
    """Name inline text in a Content-Security-Policy."""
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


def as_function(path: str, text: str) -> str:
    """Turn a module of the page into a function that returns what it exports."""
    names: list[str] = []

    def imported(match: re.Match[str]) -> str:
        what = match[1].replace(" as ", ": ") if match[1].startswith("{") else match[1].removeprefix("* as ")
        return f'const {what} = await $load($at("{match[2]}", "{path}"));'

    def exported(match: re.Match[str]) -> str:
        names.extend(re.findall(r"\w+", match[2] or match[3]))
        return match[1] + (f"{{{match[2]}}}" if match[2] else match[3])

    def listed(match: re.Match[str]) -> str:
        names.extend(": ".join(reversed(pair.split(" as "))) for pair in match[1].split(","))
        return ""

    text = re.sub(r'^import (\{[^}]*\}|\* as \w+) from "([^"]+)";$', imported, text, flags=re.M)
    text = re.sub(r'^import "([^"]+)";$', rf'await $load($at("\1", "{path}"));', text, flags=re.M)
    text = re.sub(
        r"^export ((?:async )?(?:const|let|function\*?|class) )(?:\{([^}]*)\}|(\w+))", exported, text, flags=re.M
    )
    text = re.sub(r"export\{([^}]*)\};", listed, text)
    text = re.sub(r'\bimport\("([^"]+)"\)', rf'$load($at("\1", "{path}"))', text)
    text = text.replace('new Worker(new URL("local/worker.js", import.meta.url), { type: "module" })', "startWorker()")
    text = re.sub(r"\bfetch\(new URL\(([^,]+), import\.meta\.url\)\)", rf'self.inline($at(\1, "{path}"))', text)
    text = re.sub(r"^.*wasmPaths = new URL.*$", "", text, flags=re.M)  # the bundle has its glue
    text = text.replace("import.meta.url", json.dumps(f"https://page.invalid/{path}"))  # nothing is loaded from there
    text = re.sub(r"^//# sourceMappingURL.*$", "", text, flags=re.M)
    return f'$made["{path}"] = async () => {{\n{text}\nreturn {{ {", ".join(names)} }};\n}};'
