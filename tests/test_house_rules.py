"""What keeps the code readable and safe, checked on the text itself."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SOURCES = sorted(path for folder in ("rnnpipe", "flows", "benchmarks") for path in ROOT.glob(f"{folder}/**/*.py"))
MAX_FILE_LINES = 250
MAX_FUNCTION_LINES = 60
MAX_POSITIONAL = 5
PICKLES = {"pickle", "cPickle", "cloudpickle", "dill", "joblib", "marshal", "shelve"}
SAFE_LOADERS = {"SafeLoader", "CSafeLoader", "_PlainLoader"}

Function = ast.FunctionDef | ast.AsyncFunctionDef

each_source = pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.relative_to(ROOT).as_posix())


def tree_of(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def functions(tree: ast.AST) -> Iterator[Function]:
    yield from (node for node in ast.walk(tree) if isinstance(node, Function))


def test_what_flows_say_reaches_the_terminal() -> None:
    texts = [path.read_text(encoding="utf-8") for path in ROOT.glob("flows/**/*.py")]
    named = [name for text in texts for name in re.findall(r"getLogger\((.*?)\)", text)]
    assert len(named) > 3
    assert all(name.startswith(('"rnnpipe', '"prefect.')) for name in named), named


def dotted(node: ast.expr) -> str:
    """Return the name of what is called or named, such as torch.load."""
    return ast.unparse(node.func if isinstance(node, ast.Call) else node)


def keywords(call: ast.Call) -> dict[str, str]:
    return {str(keyword.arg): ast.unparse(keyword.value) for keyword in call.keywords}


def mistakes_of_calls(tree: ast.AST) -> list[str]:
    """Return the calls that could run what a file says."""
    found = []
    for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call)):
        name, given = dotted(call), keywords(call)
        loader = given.get("Loader") or (ast.unparse(call.args[1]) if len(call.args) > 1 else "")
        is_unsafe = (
            (name == "torch.load" and given.get("weights_only") != "True")
            or given.get("allow_pickle", "False") != "False"
            or (name in ("np.load", "numpy.load") and given.get("allow_pickle") != "False")
            or (name in ("yaml.load", "yaml.load_all") and loader.removeprefix("yaml.") not in SAFE_LOADERS)
            or name in ("yaml.unsafe_load", "yaml.full_load", "eval", "exec", "os.system")
        )
        found += [f"line {call.lineno}: {ast.unparse(call)}"] if is_unsafe else []
    return found


def imported(tree: ast.AST) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(str(node.module).partition(".")[0])
    return names


def test_there_is_something_to_check() -> None:
    assert len(SOURCES) > 40


@each_source
def test_a_file_and_its_functions_are_short(path: Path) -> None:
    assert len(path.read_text(encoding="utf-8").splitlines()) <= MAX_FILE_LINES
    lengths = {
        function.name: int(function.end_lineno or 0) - function.lineno + 1 for function in functions(tree_of(path))
    }
    assert {name: lines for name, lines in lengths.items() if lines > MAX_FUNCTION_LINES} == {}


@each_source
def test_functions_take_few_positional_parameters(path: Path) -> None:
    too_many = []
    for function in functions(tree_of(path)):
        names = [argument.arg for argument in [*function.args.posonlyargs, *function.args.args]]
        is_flow = any(dotted(decorator) in ("flow", "prefect.flow") for decorator in function.decorator_list)
        if len([name for name in names if name not in ("self", "cls")]) > MAX_POSITIONAL and not is_flow:
            too_many.append(function.name)
    assert too_many == []


@each_source
def test_what_is_public_has_a_docstring(path: Path) -> None:
    tree = tree_of(path)
    assert ast.get_docstring(tree)
    owners: list[ast.Module | ast.ClassDef] = [
        tree,
        *(node for node in tree.body if isinstance(node, ast.ClassDef) and not node.name.startswith("_")),
    ]
    public = [
        node
        for owner in owners
        for node in owner.body
        if isinstance(node, Function | ast.ClassDef) and not node.name.startswith("_")
    ]
    assert [node.name for node in public if not ast.get_docstring(node)] == []


@each_source
def test_packages_are_named_in_one_line(path: Path) -> None:
    if path.name == "__init__.py" and path.parent.name not in ("rnnpipe", "config", "cli", "figures"):
        (only,) = tree_of(path).body
        assert isinstance(only, ast.Expr) and only.end_lineno == only.lineno


@each_source
def test_no_path_of_one_machine_stands_in_the_code(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    assert [name for name in ("home", "root", "Users", "tmp", "work", "mnt") if f"/{name}/" in text] == []


@each_source
def test_nothing_is_unpickled_or_run(path: Path) -> None:
    tree = tree_of(path)
    assert imported(tree) & PICKLES == set()
    assert mistakes_of_calls(tree) == []


@pytest.mark.parametrize(
    "code",
    [
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "np.load(path, allow_pickle=True)",
        "np.load(path)",
        "np.lib.format.read_array(file, allow_pickle=True)",
        "yaml.load(text, yaml.Loader)",
        "yaml.load(text, Loader=yaml.UnsafeLoader)",
        "eval(text)",
    ],
)
def test_the_check_itself_sees_what_is_unsafe(code: str) -> None:
    assert mistakes_of_calls(ast.parse(code))


def test_the_check_itself_lets_pass_what_is_safe() -> None:
    code = "torch.load(p, weights_only=True); np.load(p, allow_pickle=False); yaml.load(t, Loader=yaml.SafeLoader)"
    assert not mistakes_of_calls(ast.parse(code))


def test_documents_hold_no_placeholder() -> None:
    for path in ROOT.glob("*.md"):
        assert not re.search(r"^@[A-Z]+@$", path.read_text(encoding="utf-8"), re.MULTILINE), path.name
