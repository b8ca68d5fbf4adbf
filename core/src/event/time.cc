#include "event/time.h"

#include <chrono>

namespace penstock::event {
namespace {

char* PutDigits(unsigned value, int digits, char* out) {
  for (int i = digits; i-- > 0; value /= 10) out[i] = static_cast<char>('0' + value % 10);
  return out + digits;
}

}  // namespace

char* WriteTime(int64_t unix_ns, char* out) {
  // By hand, because chrono's arithmetic overflows on the first day of the range.
  constexpr int64_t kNsPerDay = int64_t{86400} * 1'000'000'000;
  int64_t day = unix_ns / kNsPerDay;
  int64_t ns_of_day = unix_ns % kNsPerDay;
  if (ns_of_day < 0) {
    ns_of_day += kNsPerDay;
    --day;
  }
  const std::chrono::year_month_day date{std::chrono::sys_days(std::chrono::days(day))};
  const std::chrono::hh_mm_ss clock{std::chrono::nanoseconds(ns_of_day)};
  out = PutDigits(static_cast<unsigned>(static_cast<int>(date.year())), 4, out);
  *out++ = '-';
  out = PutDigits(static_cast<unsigned>(date.month()), 2, out);
  *out++ = '-';
  out = PutDigits(static_cast<unsigned>(date.day()), 2, out);
  *out++ = 'T';
  out = PutDigits(static_cast<unsigned>(clock.hours().count()), 2, out);
  *out++ = ':';
  out = PutDigits(static_cast<unsigned>(clock.minutes().count()), 2, out);
  *out++ = ':';
  out = PutDigits(static_cast<unsigned>(clock.seconds().count()), 2, out);
  if (const auto fraction = clock.subseconds().count(); fraction != 0) {
    *out++ = '.';
    out = PutDigits(static_cast<unsigned>(fraction), 9, out);
    while (out[-1] == '0') --out;
  }
  *out++ = 'Z';
  return out;
}

}  // namespace penstock::event
