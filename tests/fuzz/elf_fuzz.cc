// Any bytes as a plugin file: no crash, and what is accepted has a note that may be believed.
#include <cstdint>
#include <cstdlib>

#include "plugin/elf.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using penstock::plugin::ReadElf;
  const penstock::plugin::ElfFacts facts = ReadElf({data, size});
  if (!facts.refusal.empty()) return 0;
  if (!facts.note || !penstock::plugin::IsId(facts.note->id) || facts.note->version.empty())
    std::abort();
  if (!penstock::plugin::AbiRefusal(facts.note->abi_major, facts.note->abi_minor).empty())
    std::abort();
  return 0;
}
