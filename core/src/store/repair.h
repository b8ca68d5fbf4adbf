// Makes a new, sound store of what a damaged one still has.
//
// What the old file's tree reaches, and whose checksum is right, is taken. For keys of which the
// tree cannot tell any more, all pages are searched for values, free pages too, and the newest of
// each key is taken. So a value may come back that had been deleted: chunks below every cursor are
// left out again; dead letters are kept and counted apart, for some of them may have been replayed
// or dropped before. A cursor may be an older one, and then events are sent again under the same
// ids; its counters are as old as it is, so that its ledger balances.
//
// Events that are nowhere leave holes: a HoleRecord (catalog.h) says so, and a reader skips the gap
// and counts it as dropped, reason "corrupted". Offsets are never given twice: a queue's end is at
// least behind every event that was seen.
#pragma once

#include <string>

#include "platform/result.h"
#include "store/pages.h"
#include "store/report.h"

namespace penstock::store {

// Reads the store in directory, which is not changed and which nobody may be writing to, and makes
// the new one in out_directory, which must not hold one. The report is that of the new store,
// checked in full; its findings say what was lost (as notes, for the new store is sound without
// it), and Report::repaired what was saved. The error: there was nothing to repair, or the new
// store could not be written.
Result<Report> Repair(const std::string& directory, const std::string& out_directory,
                      const PageFile::Progress& progress = {});

}  // namespace penstock::store
