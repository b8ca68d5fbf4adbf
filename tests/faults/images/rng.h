// Random numbers that are the same everywhere: SplitMix64.
#ifndef PENSTOCK_TESTS_FAULTS_IMAGES_RNG_H
#define PENSTOCK_TESTS_FAULTS_IMAGES_RNG_H

#include <cstdint>

namespace penstock_faults {

class Rng {
 public:
  explicit Rng(uint64_t seed, uint64_t stream = 0) : state_(seed + stream * 0xd1342543de82ef95ULL) {
    Next();
  }
  uint64_t Next() {
    state_ += 0x9e3779b97f4a7c15ULL;
    uint64_t z = state_;
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9ULL;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebULL;
    return z ^ (z >> 31);
  }
  // 0 .. n - 1; n > 0.
  uint64_t Below(uint64_t n) { return Next() % n; }
  bool Chance(unsigned percent) { return Below(100) < percent; }

 private:
  uint64_t state_;
};

}  // namespace penstock_faults

#endif  // PENSTOCK_TESTS_FAULTS_IMAGES_RNG_H
