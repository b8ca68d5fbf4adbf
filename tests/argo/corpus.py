"""Payloads on which two encoders of the same format may differ: known cases, and seeded ones."""

import base64
import pathlib
import random

VECTORS = pathlib.Path(__file__).parents[1] / "unit" / "event" / "testdata" / "go_vectors.txt"
# The last payload of every corpus; it can be encoded in every way.
END = b'{"end":true}'

NUMBERS = """
0 -0 5 -5 10 1.0 1.50 0.1 -0.0 1e0 1E0 1e+2 1E+2 1e-2 1e400 -1e400 1e-400 0e0 0E+00 1e00005
0.000000000000000000001 12345678901234567890 123456789012345678901234567890 9007199254740993
1.7976931348623157e308 4.9e-324 100000000000000000000000 3.14159265358979323846264338
""".split()
NO_NUMBERS = """
- + +1 01 -01 00 1. .5 1e 1e+ 1e- 1.e1 --1 0x10 1_000 NaN Infinity -Infinity 1e5.5 \u0661
""".split()
LITERALS = ["true", "false", "null"]
NO_LITERALS = ["True", "NULL", "nul", "nulll", "t", "undefined", "'a'"]

# What a JSON string may be made of: plain, escaped in each way, and no valid Unicode at all.
GOOD_PIECES = [piece.encode() for piece in (
    "a", "plain text", "<", ">", "&", "<script>&amp;", "'", "/", "\x7f", "ä", "€", "😀",
    "\u2028", "\u2029", "\u2027", "\u202a", "\ufeff", "\ufffd", "\ufffe", "\U0010ffff", "\u0080",
    " ", "%s", "{}", r"\"", r"\\", r"\/", r"\b", r"\f", r"\n", r"\r", r"\t", r"\u0000", r"\u001f",
    r"\u003c", r"\u003C", r"\u2028", r"\u2029", r"\uD83D\uDE00", r"\ud800", r"\udfff",
    r"\udc00\ud800", r"\ud800\u0041", r"\ud800\ud800", r"\uFFFF", r"\\u003c")]
GOOD_PIECES += [b"\x80", b"\xff", b"\xc3", b"\xc0\xaf", b"\xe2\x80", b"\xed\xa0\x80",
                b"\xf4\x90\x80\x80", b"\xf0\x9f\x98", b"\xe2\x80\xa8\xa8", b"\xe2\xe2\x80\xa9"]
BAD_PIECES = [b"\x00", b"\x1f", b"\n", b"\t", b"\r", rb"\x41", rb"\u12", rb"\u12G4", rb"\U0041",
              rb"\a", rb"\0", b"\\", b"\\\xe2\x80\xa8", b"\\\n"]
SPACE = [b" ", b"\t", b"\n", b"\r", b"\r\n", b"  \t\n"]
NO_SPACE = [b"\x0b", b"\x0c", b"\x00", b"\xc2\xa0", b"\xe2\x80\xa8", b"\xef\xbb\xbf", b"//c",
            b"/**/", b"#"]

STRUCTURES = rb"""
{} [] [[]] [{}] {"":{}} {"":""} [1,[2,[3,{"a":[]}]]] {"a":{"b":{"c":{"d":null}}}}
{"a":1,"a":2,"a":{"a":3,"a":4}} {"b":1,"a":2,"b":3} {"<":1,"\u003c":2,"&":"&"} ["<","&","\u2028"]
{"body":1,"metadata":2} {"body":{"body":{}}} [null,true,false,0,"",[],{}] {"a":"\ud800\ud800"}
{ "a" : 1 , "b" : [ 1 , 2 ] } {"__proto__":1} {"a.b":1,"a-b":2,"A":3} [1e1000,-1e-1000]
{"a":1,} [1,] [,1] [1,,2] {,} {"a"} {"a":} {:1} {a:1} {'a':1} {"a":1 "b":2} [1 2] {"a":1]
[1} [ { } ] ] {} {} [][] 1,2 "a""b" {"a":1}x x{"a":1} nullnull {"a":tru} [true,fals {"a":"b"
{"a":"b {"a" [ { " "\ {"a":NaN} {"a":Infinity} {"a":undefined} {"a":0x1} {"a":.5} [1e] [+1] [01]
""".splitlines()


def in_lines(lines):
    """Each blank-separated word of them, and the whole line, which mostly is no JSON."""
    words = [word for line in lines for word in line.split(b" ")]
    return [*words, *lines]


def nested(depth, kind, core=b""):
    if kind == "[":
        return b"[" * depth + core + b"]" * depth
    if kind == "{":
        return b'{"a":' * (depth - 1) + b"{" + core + b"}" * depth
    pairs, odd = divmod(depth, 2)
    return b'[{"a":' * pairs + (b"[]" if odd else b"1") + b"}]" * pairs


def vectors():
    """(kind, bytes) of each input on which Go itself was asked; of tests/unit/event."""
    for line in VECTORS.read_text().splitlines():
        kind, text, _ = line.split(" ")
        if kind != "t":
            yield kind, base64.b64decode(text)


def fixed():
    """The known cases, the same every time."""
    yield b""
    yield b"hello"
    yield b"not json"
    yield bytes([0, 0xFF, 0xFE])
    yield b'{"x": 1,  "h":"<b>&\xe2\x80\xa8"}'
    yield from (vector for kind, vector in vectors() if kind in "+-")
    for word in NUMBERS + NO_NUMBERS + LITERALS + NO_LITERALS:
        yield word.encode()
        yield b'{"n":[' + word.encode() + b"]}"
    for piece in GOOD_PIECES + BAD_PIECES:
        yield b'"' + piece + b'"'
        yield b'{"k' + piece + b'":"v' + piece + piece + b'"}'
        yield piece
    for space in SPACE + NO_SPACE:
        yield space
        yield space + b"1" + space
        yield space.join([b"", b"{", b'"a"', b":", b"[", b"1", b",", b'"  "', b"]", b"}", b""])
        yield b'"' + space + b'"'
    yield from in_lines(STRUCTURES)
    yield b"\xef\xbb\xbf{}"
    yield '{"a":1}'.encode("utf-16")
    for text in ['{"a":[1,"b\\u00e4"]}', '"\\ud83d\\ude00"', "-1.5e+10", "[true]"]:
        yield from (text[:end].encode() for end in range(len(text)))
    # Go's encoding/json takes 10,000 levels.
    for depth in (1, 64, 65, 9999, 10000, 10001, 10002, 20000):
        for kind in "[{x":
            yield nested(depth, kind)
    yield nested(10000, "[", b'"<"')
    yield nested(10000, "[", b"[]")
    yield nested(10000, "{", b'"a":{}')
    yield b"[" * 10001
    yield b"[" * 9999 + b"{}" + b"]" * 9999
    yield nested(10000, "[") + b" " + nested(10000, "[")
    yield b"[" + b",".join([nested(9999, "[")] * 3) + b"]"


def sized():
    """Around the sizes at which lengths of anything change."""
    for size in (15, 16, 17, 31, 32, 33, 255, 256, 4095, 4096, 65535, 65536, 200000):
        yield bytes(i * 7 & 255 for i in range(256)) * (size // 256) + b"\xfe" * (size % 256)
        yield b'"' + b"<" * (size // 2) + b'"'
        yield b'"' + "\u2028ä&".encode() * (size // 6) + b'"'
        yield b'"' + b"x" * (size - 2) + b'"'
        yield b"[" + b" 1,\n" * (size // 4) + b"2]"
        yield b"{" + b'"k":"v",' * (size // 8) + b'"z":0}'


class Random:
    """JSON by its grammar, in every spelling, and damaged."""

    def __init__(self, seed):
        self.choose = random.Random(seed)

    def space(self):
        return b"".join(self.choose.choices(SPACE, k=self.choose.choice([0, 0, 0, 1, 2])))

    def string(self):
        return b'"' + b"".join(self.choose.choices(GOOD_PIECES, k=self.choose.randrange(6))) + b'"'

    def digits(self):
        return "".join(self.choose.choices("0123456789", k=self.choose.choice([1, 1, 2, 5, 30])))

    def number(self):
        c = self.choose
        whole = c.choice(["0", c.choice("123456789") + self.digits()])
        fraction = c.choice(["", "." + self.digits()])
        exponent = c.choice(["", c.choice("eE") + c.choice(["", "+", "-"]) + self.digits()])
        return (c.choice(["", "-"]) + whole + fraction + exponent).encode()

    def value(self, depth=0):
        kind = self.choose.randrange(4 if depth > 5 else 7)
        if kind == 0:
            return self.choose.choice(LITERALS).encode()
        if kind == 1:
            return self.number()
        if kind < 4:
            return self.string()
        count = self.choose.choice([0, 1, 2, 3, 8])
        if kind == 4:
            items = [self.spaced(self.value(depth + 1)) for _ in range(count)]
            return b"[" + (b",".join(items) or self.space()) + b"]"
        items = [self.spaced(self.string()) + b":" + self.spaced(self.value(depth + 1))
                 for _ in range(count)]
        return b"{" + (b",".join(items) or self.space()) + b"}"

    def spaced(self, text):
        return self.space() + text + self.space()

    def damaged(self, text):
        """One byte more, less or other; or the end is missing; or there is more."""
        c = self.choose
        at = c.randrange(len(text) + 1)
        byte = bytes([c.choice(b'{}[]",:\\ \n\x00e0-<\x80\xe2' + bytes([c.randrange(256)]))])
        return c.choice([text[:at] + byte + text[at:], text[:at] + text[at + 1:],
                         text[:at] + byte + text[at + 1:], text[:at], text + byte,
                         text[:at] + text[at:][::-1]])

    def payloads(self, count):
        for _ in range(count):
            text = self.spaced(self.value())
            yield text
            yield self.damaged(text)
            yield self.choose.randbytes(self.choose.choice([1, 2, 3, 4, 20, 300]))


def corpus(seed, rounds=100, more=()):
    """All of it in an order of the seed's, each payload once, and END. more: payloads beside."""
    found = dict.fromkeys([*fixed(), *sized(), *Random(seed).payloads(rounds), *more])
    found.pop(END, None)
    payloads = list(found)
    random.Random(seed).shuffle(payloads)
    return [*payloads, END]
