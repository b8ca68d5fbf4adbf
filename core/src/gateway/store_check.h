// Whether the store may be opened, asked before anybody does; what happens to one that may not; and
// its repair. All of it looks at the file in a child process, so that no damage ends this one.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "platform/result.h"
#include "store/check.h"
#include "store/report.h"
#include "store/store.h"

namespace penstock::gateway {

// The command of this program that the child runs; it is in no help text.
inline constexpr char kStoreChild[] = "store-child";
// arguments: what follows the command. Returns the exit code.
int StoreChildMain(const std::vector<std::string>& arguments);

// The store's directory in a state directory.
std::string StoreIn(const std::string& state_dir);

// The store that there is: the one in its place, else the newest that was set aside.
struct FoundStore {
  std::string directory;
  bool set_aside = false;
};
std::optional<FoundStore> FindStore(const std::string& state_dir);

// Checks a store that nobody writes to. The error: it could not be checked.
Result<store::Report> CheckStore(const std::string& directory, store::Depth depth);

// As thoroughly as the way in which it was closed asks for.
Result<store::Report> CheckStoreBeforeUse(const std::string& directory);

// Takes the lock. One that is held is waited for, as long as a tool may hold it.
Result<store::Lock> TakeStore(const std::string& state_dir);

// For the gateway, between the lock and Store::Open. A store with damage is set aside and reported,
// and as long as there is one set aside and none in its place, nothing begins with an empty one:
// both are errors (kConfig) that say what is lost and what to do. kFatal: it could not be checked.
// Tells the service manager to wait.
Result<void> CheckStoreAtStart(const store::Lock& lock);

struct RepairOutcome {
  store::Report report;   // of the store that is in place now
  std::string damaged;    // where the damaged one is; empty: there was no damage
  bool put_back = false;  // the one that had been set aside turned out to be sound
};
// Makes a sound store of the damaged one, in its place, and keeps the damaged one beside it. The
// error: there is none, or nothing could be saved; then all is as before. Prints nothing.
Result<RepairOutcome> RepairStore(const store::Lock& lock);

// The report for people, several lines.
std::string ReportText(const store::Report& report, const std::string& directory);
// After a repair: nothing was lost, and no cursor went back.
bool LacksNothing(const store::Report& report);
// "queue orders: offsets [3, 9)" of all that is lost; empty: nothing is known to be.
std::string LostText(const store::Report& report);

// After root has used the store: everything in it belongs to its owner, so that the gateway can
// open it.
void GiveToOwner(const std::string& directory);

}  // namespace penstock::gateway
