// The SDK's hosts for plugins under test; a broken contract fails the test.
#pragma once

#include <gtest/gtest.h>

#include <penstock/fakes.hpp>

namespace penstock::fakes {

inline const bool kFaultsFail = [] {
  OnFault() = [](const std::string& what) { ADD_FAILURE() << what; };
  return true;
}();

}  // namespace penstock::fakes
