// Whatever the expression is, translating it ends, with Lua or with a place in it; the same the
// second time.
#include <cstdint>
#include <cstdlib>
#include <string_view>

#include "import/expr.h"

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  const penstock::import_argo::FilterContext context{(data[0] & 1) != 0, (data[0] & 2) != 0};
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  const auto once = penstock::import_argo::TranslateFilter(text, context);
  const auto again = penstock::import_argo::TranslateFilter(text, context);
  if (once.has_value() != again.has_value()) std::abort();
  if (once && (*once != *again || once->empty())) std::abort();
  if (!once && (once.error().at > text.size() || once.error().text.empty())) std::abort();
  return 0;
}
