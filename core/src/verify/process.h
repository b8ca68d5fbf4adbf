// What a process consists of beside its memory, to see what a plugin does to it. Private to this
// folder.
#pragma once

#include <cstddef>
#include <map>
#include <string>

namespace penstock::verify {

struct ProcessState {
  size_t threads = 0;
  std::map<int, std::string> descriptors;  // number: what it is open on
  // Signals, their mask, locale, environment, directory, umask, standard streams; each as a text.
  std::map<std::string, std::string> rest;

  static ProcessState Now();
};

// "5 (socket:[1234])" for each descriptor that is open in after and not in before.
std::string NewDescriptors(const ProcessState& before, const ProcessState& after);
// The names of what differs in rest: "locale and umask".
std::string Changed(const ProcessState& before, const ProcessState& after);

// How many threads and descriptors there are.
size_t CountThreads();
size_t CountDescriptors();

// From here on standard output and error lead to memory.
void CaptureOutput();
// What was written there since the last call, cut to a bearable length; empty: nothing.
std::string CapturedOutput();

}  // namespace penstock::verify
