// Values for a plugin's options: given, made up, or senseless. Private to this folder.
#pragma once

#include "verify/trial.h"

namespace penstock::verify {

// What is wrong with the defaults themselves; empty: nothing.
std::string DefaultsFault(const penstock_plugin& plugin);

// Options that check() accepts: of the configuration file, or the options given, with made up
// values for what is required beside them. Breaks the current check when there are none.
config::Options GoodOptions(const Subject& subject);

// Each text, number and list at odds with what anybody would write, or not there at all; the host
// would refuse some of them.
std::vector<config::Options> BadOptions(const Subject& subject);

// Runs check() and judges how it reports. The first error that it finds; empty: none.
std::string RunCheck(const Subject& subject, const config::Options& options);

}  // namespace penstock::verify
