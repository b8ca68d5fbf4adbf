#include "import/lua_helpers.h"

#include <array>

namespace penstock::import_argo {
namespace {

struct Helper {
  std::string_view name;
  std::string_view needs;  // others, which stand before it
  std::string_view code;
};

// In the order in which they may stand.
constexpr std::array<Helper, 19> kHelpers = {{
    {"encoded", "", R"(
  local encoded = payload ~= "" and base64_encode(payload) or nil
)"},
    // Calling what is not there fails, and the message has its name.
    {"fail", "", R"(
  local fail = {}
)"},
    {"kind", "fail", R"(
  local function kind(v)
    if type(v) ~= "table" then return type(v) end
    if #v > 0 then return "list" end
    for _ in pairs(v) do return "object" end
    return "empty"
  end
)"},
    {"get", "kind", R"(
  local function get(v, ...)
    for i = 1, select("#", ...) do
      local key, of = select(i, ...), kind(v)
      if type(key) == "string" then
        if of ~= "object" and of ~= "empty" then return fail.is_no_object() end
      else
        local n = of == "string" and #v or of == "list" and len(v) or 0
        if key < 0 then key = key + n end
        if key < 0 or key >= n then return fail.has_no_such_element() end
        key = key + 1
      end
      v = of == "string" and string.byte(v, key) or v[key]
    end
    return v
  end
)"},
    {"try", "kind", R"(
  local function try(v, ...)
    for i = 1, select("#", ...) do
      if v == nil then return nil end
      local of = kind(v)
      if of ~= "object" and of ~= "empty" then return fail.is_no_object() end
      v = v[select(i, ...)]
    end
    return v
  end
)"},
    {"bool", "fail", R"(
  local function bool(v)
    if type(v) ~= "boolean" then return fail.is_no_boolean() end
    return v
  end
)"},
    {"num", "fail", R"(
  local function num(v)
    if type(v) ~= "number" then return fail.is_no_number() end
    return v + 0.0
  end
)"},
    {"text", "fail", R"(
  local function text(v)
    if type(v) ~= "string" then return fail.is_no_string() end
    return v
  end
)"},
    {"text_or_nil", "fail", R"(
  local function text_or_nil(v)
    if v ~= nil and type(v) ~= "string" then return fail.is_no_string() end
    return v
  end
)"},
    {"list", "kind", R"(
  local function list(v)
    local of = kind(v)
    if of == "string" then return {string.byte(v, 1, -1)} end
    if of ~= "list" and of ~= "empty" then return fail.is_no_list() end
    return v
  end
)"},
    // Members of an object that are null are not there.
    {"size", "kind", R"(
  local function size(v)
    local of = kind(v)
    if of ~= "string" and of ~= "list" and of ~= "empty" then return fail.has_no_length() end
    return of == "string" and #v or len(v)
  end
)"},
    {"to_int", "fail", R"(
  local function to_int(v)
    if type(v) == "string" and matches(v, "^[+-]?[0-9]+$") then v = tonumber(v) end
    if type(v) ~= "number" then return fail.is_no_whole_number() end
    return math.tointeger(v >= 0 and math.floor(v) or math.ceil(v)) or fail.is_no_whole_number()
  end
)"},
    {"to_float", "fail", R"(
  local function to_float(v)
    local form = "^[+-]?([0-9]+([.][0-9]*)?|[.][0-9]+)([eE][+-]?[0-9]+)?$"
    if type(v) == "string" and matches(v, form) then v = tonumber(v) end
    if type(v) ~= "number" then return fail.is_no_number() end
    return v + 0.0
  end
)"},
    {"add", "fail", R"(
  local function add(a, b)
    if type(a) == "number" and type(b) == "number" then return a + 0.0 + b end
    if type(a) == "string" and type(b) == "string" then return a .. b end
    return fail.cannot_be_added()
  end
)"},
    {"either", "", R"(
  local function either(a, b)
    if a == nil then return b end
    return a
  end
)"},
    {"same", "", R"(
  local function same(a, b)
    if type(a) ~= "table" or type(b) ~= "table" then return a == b end
    for k, v in pairs(a) do if not same(v, b[k]) then return false end end
    for k in pairs(b) do if a[k] == nil then return false end end
    return true
  end
)"},
    // For the same reason what is not found in an object may be in it.
    {"within", "kind same", R"(
  local function within(v, of)
    if of == nil then return false end
    local what = kind(of)
    if what == "object" then return of[v] ~= nil or fail.may_be_null() end
    if what ~= "list" and what ~= "empty" then return fail.is_no_list() end
    for i = 1, len(of) do if same(of[i], v) then return true end end
    return false
  end
)"},
    {"in_range", "", R"(
  local function in_range(v, first, last)
    return type(v) == "number" and v >= first and v <= last and v == math.floor(v)
  end
)"},
    {"count", "", R"(
  local function count(v, f)
    local n = 0
    for i = 1, len(v) do if f(v[i]) then n = n + 1 end end
    return n
  end
)"},
}};

}  // namespace

std::string WithHelpers(const Helpers& used, const std::string& expression) {
  Helpers all = used;
  // Those that are needed stand in front, so that one way back finds all.
  for (auto helper = kHelpers.rbegin(); helper != kHelpers.rend(); ++helper) {
    if (!all.contains(std::string(helper->name))) continue;
    for (const Helper& other : kHelpers)
      if (helper->needs.find(other.name) != helper->needs.npos) all.emplace(other.name);
  }
  if (all.empty()) return expression;
  std::string out =
      "(function()\n  -- What expr has and Lua has not. Where expr fails, this fails as well.";
  for (const Helper& helper : kHelpers) {
    if (all.contains(std::string(helper.name)))
      out += helper.code.substr(0, helper.code.size() - 1);
  }
  return out + "\n  return " + expression + "\nend)()";
}

}  // namespace penstock::import_argo
