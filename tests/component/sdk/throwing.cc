// A callback that may throw: compiles only with -DPROMISE, which makes it one that may not.
#include <penstock/plugin.h>

#ifdef PROMISE
#define MAY noexcept
#else
#define MAY
#endif

static void Stop(penstock_instance*) MAY {}

penstock_plugin Make();
penstock_plugin Make() {
  penstock_plugin p{};
  p.stop = Stop;
  return p;
}
