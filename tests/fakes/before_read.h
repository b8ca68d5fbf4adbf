// For what happens just before somebody looks into a store. Linked into a test, before_read.cc
// stands in front of LMDB's own.
#pragma once

#include <functional>

namespace penstock::fakes {

// Called once, when the next transaction that only reads is about to begin. One thread.
void BeforeNextRead(std::function<void()> f);

}  // namespace penstock::fakes
