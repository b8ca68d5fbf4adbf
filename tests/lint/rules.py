"""The repository's own rules: each takes a file's name and lines and returns complaints."""

import ast
import pathlib
import re

WIDTH = 100
FUNCTION_LINES = 70
CPP = {".cc", ".h", ".hpp", ".c"}
BINARY = {".png", ".gz", ".jar", ".pem", ".golden", ".bin"}

# A path of one person's machine has no place in a file that everybody reads.
MACHINE_PATH = re.compile(r"(?<![\w.$}/-])/(?:wor[k]|hom[e]/\w+|roo[t]|User[s])/")
CONTROL = re.compile(
    r"\s*(if|for|while|switch|do|else|catch|try|return|namespace|struct|class|enum)\b")
CPP_FUNCTION = re.compile(r"^ {0,2}(?!\s)(?!.*=\s*\{$).*\).*\{$")
SHELL_FUNCTION = re.compile(r"^\w[\w-]*\(\) [{(]$")


def is_shell(name, lines):
    path = pathlib.Path(name)
    return path.suffix == ".sh" or bool(lines and lines[0].startswith("#!") and "bash" in lines[0])


def is_python(name, lines):
    if name.endswith(".py"):
        return True
    return bool(lines and lines[0].startswith("#!") and "python" in lines[0])


def whitespace(name, lines):
    if "testdata" in pathlib.Path(name).parts:
        return  # bytes that are to be just so
    for number, line in enumerate(lines, 1):
        if line != line.rstrip():
            yield f"{name}:{number}: blanks at the end of the line"
        if "\t" in line and pathlib.Path(name).suffix in CPP | {".py", ".toml", ".md"}:
            yield f"{name}:{number}: a tab"


def width(name, lines):
    if not (pathlib.Path(name).suffix in CPP or is_shell(name, lines) or is_python(name, lines)):
        return
    for number, line in enumerate(lines, 1):
        if len(line) > WIDTH and "https://" not in line:
            yield f"{name}:{number}: {len(line)} columns, at most {WIDTH}"


def block_lengths(lines, opens):
    """Yields (line number, length) of the blocks that `opens` starts and a } at its indent ends."""
    number = 0
    while number < len(lines):
        indent = opens(lines[number])
        if indent is None:
            number += 1
            continue
        end = number + 1
        while end < len(lines) and not re.match(rf"{indent}[}})]", lines[end]):
            end += 1
        yield number + 1, end - number + 1
        number = end + 1


def cpp_opens(line):
    if CONTROL.match(line) or not CPP_FUNCTION.match(line):
        return None
    return re.match(r" *", line).group()


def shell_opens(line):
    return "" if SHELL_FUNCTION.match(line) else None


def function_length(name, lines):
    if pathlib.Path(name).suffix in CPP:
        found = block_lengths(lines, cpp_opens)
    elif is_shell(name, lines):
        found = block_lengths(lines, shell_opens)
    elif is_python(name, lines):
        tree = ast.parse("\n".join(lines))
        kinds = (ast.FunctionDef, ast.AsyncFunctionDef)
        nodes = [node for node in ast.walk(tree) if isinstance(node, kinds)]
        found = [(node.lineno, node.end_lineno - node.lineno + 1) for node in nodes]
    else:
        return
    for number, length in found:
        if length > FUNCTION_LINES:
            yield f"{name}:{number}: a function of {length} lines, at most {FUNCTION_LINES}"


def markdown_title(name, lines):
    if not name.endswith(".md"):
        return
    fenced, titles = False, 0
    for line in lines:
        if line.startswith("```"):
            fenced = not fenced
        titles += line.startswith("# ") and not fenced
    if titles != 1 or not lines[0].startswith("# "):
        yield f"{name}:1: a page opens with its one title ('# ...'); this has {titles}"


def machine_paths(name, lines):
    for number, line in enumerate(lines, 1):
        if MACHINE_PATH.search(line) and not line.startswith("#!"):
            yield f"{name}:{number}: a path of one machine"


RULES = [whitespace, width, function_length, markdown_title, machine_paths]


def check(root, files):
    results = {rule.__name__.replace("_", "-"): [] for rule in RULES}
    results["final-newline"] = []
    for name in files:
        if pathlib.Path(name).suffix in BINARY or name == "LICENSE":
            continue
        try:
            text = (root / name).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            continue
        if text and not text.endswith("\n"):
            results["final-newline"].append(f"{name}: no newline at the end")
        lines = text.splitlines()
        for rule in RULES:
            results[rule.__name__.replace("_", "-")].extend(rule(name, lines))
    return list(results.items())
