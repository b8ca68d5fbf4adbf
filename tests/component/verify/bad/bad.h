// What a plugin here does wrong is chosen by the environment, so that one build has all defects.
#pragma once

#include <fcntl.h>
#include <signal.h>
#include <unistd.h>

#include <clocale>
#include <cstdio>
#include <cstdlib>
#include <penstock/plugin.hpp>
#include <string_view>
#include <thread>

inline bool Bad(std::string_view what) {
  const char* chosen = std::getenv("PENSTOCK_BAD");
  return chosen != nullptr && chosen == what;
}

[[noreturn]] inline void Crash() {
  signal(SIGSEGV, SIG_DFL);
  raise(SIGSEGV);
  _exit(1);
}

[[noreturn]] inline void WaitForEver() {
  for (;;) pause();
}

__attribute__((constructor)) static void WhenLoaded() {
  if (Bad("load-thread")) std::thread(WaitForEver).detach();
  if (Bad("load-print")) std::puts("hello");
  if (Bad("load-open")) (void)!open("/dev/null", O_RDONLY | O_CLOEXEC);
  if (Bad("load-signal")) signal(SIGUSR1, SIG_IGN);
  if (Bad("load-locale")) std::setlocale(LC_NUMERIC, "C.UTF-8");
  if (Bad("load-environment")) setenv("PENSTOCK_BAD_WAS_HERE", "1", 1);
  if (Bad("load-slow")) sleep(3);
  if (Bad("load-crash")) Crash();
  if (Bad("load-exit")) _exit(0);
}
