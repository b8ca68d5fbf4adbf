// The checks that need no more than the file's bytes. Private to this folder.
#pragma once

#include "verify/verify.h"

namespace penstock::verify {

// Adds a verdict for each check of Stage::kFile, and the note.
void CheckFile(const std::string& path, Report* report);

}  // namespace penstock::verify
