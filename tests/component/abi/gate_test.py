"""The gate lets a later minor through and nothing else: gate_test.py INCLUDE RECORD."""

import pathlib
import re
import sys
import tempfile
import unittest

sys.dont_write_bytecode = True
import gate  # noqa: E402

INCLUDE, RECORD = sys.argv[1:3]
HEADER = (pathlib.Path(INCLUDE) / "penstock/plugin.h").read_text()


def grown(header):
    names = "|".join(name.removeprefix("penstock_") for name in sorted(gate.GROWING))
    return re.sub(rf"^}} penstock_({names});", r"  uint64_t later[2];\n\g<0>", header, flags=re.M)


class GateTest(unittest.TestCase):
    def breaks(self, header):
        self.assertNotEqual(header, HEADER, "the mutation changes nothing")
        with tempfile.TemporaryDirectory() as folder:
            (pathlib.Path(folder) / "penstock").mkdir()
            (pathlib.Path(folder) / "penstock/plugin.h").write_text(header)
            return gate.breaks(folder, RECORD)

    def test_what_may_grow_may_grow(self):
        self.assertEqual(self.breaks(grown(HEADER)), "")

    def test_nothing_else_may_change(self):
        mutations = {
            "a member in the middle": ("  uint32_t caps;", "  uint32_t caps;\n  uint64_t more;"),
            "a member of another type": ("  int32_t outcome;", "  uint32_t outcome;"),
            "a member of another size": ("  uint32_t attempt;", "  uint64_t attempt;"),
            "a member of another name": ("  uint32_t attempt;", "  uint32_t tries;"),
            "two members exchanged": ("  int32_t type;\n  int32_t is_set;",
                                      "  int32_t is_set;\n  int32_t type;"),
            "another parameter": ("(*flush)(penstock_instance*)",
                                  "(*flush)(penstock_instance*, int)"),
            "another result": ("void (*stop)(", "penstock_status (*stop)("),
            "no last member": ("  const void* (*extension)(penstock_instance*, const char* id)"
                               "PENSTOCK_NOEXCEPT;\n", ""),
            "a longer error text": ("char text[1016];", "char text[2040];"),
            "a pair that grows": ("  penstock_str key, value;", "  penstock_str key, value, more;"),
            "an owner that grows": ("} penstock_owner;", "  void* more;\n} penstock_owner;"),
        }
        for what, (old, new) in mutations.items():
            with self.subTest(what):
                self.assertIn(old, HEADER)
                changed = HEADER.replace(old, new, 1)
                self.assertNotEqual(self.breaks(changed), "")
                self.assertNotEqual(self.breaks(grown(changed)), "", "and all has grown beside")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
