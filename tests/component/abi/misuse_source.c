/* A source that does what plugin.h does not allow, and looks at the answers. */
#include <penstock/plugin.h>
#include <stdio.h>

static const penstock_host* host_of_instance;
struct penstock_instance {
  int unused;
};
static penstock_instance instance;

static penstock_status create(const penstock_host* host, const penstock_config* config,
                              penstock_instance** out, penstock_error* error) {
  (void)config;
  (void)error;
  host_of_instance = host;
  *out = &instance;
  return PENSTOCK_OK;
}

static const char* misuse(const penstock_host* host) {
  const penstock_event event = {.payload = {"good", 4}};
  size_t accepted = 7;
  const penstock_event_batch strideless = {sizeof strideless, 0, &event, 1};
  if (host->emit(host, &strideless, &accepted, -1) != PENSTOCK_E_FAILED || accepted != 0)
    return "a batch without a stride";
  const penstock_event_batch odd = {sizeof odd, sizeof event + 1, &event, 1};
  if (host->emit(host, &odd, &accepted, -1) != PENSTOCK_E_FAILED) return "an odd stride";
  const penstock_event_batch sizeless = {0, sizeof event, &event, 1};
  if (host->emit(host, &sizeless, &accepted, -1) != PENSTOCK_E_FAILED)
    return "a batch without a size";
  const penstock_receipt receipt = {0};
  host->complete(host, &receipt, 1);
  host->ready(host);
  const penstock_str text = {"of a later minor", 16};
  host->report_state(host, 99, text);
  host->log(host, 99, text, NULL, 0);
  const penstock_event_batch good = {sizeof good, sizeof event, &event, 1};
  if (host->emit(host, &good, &accepted, -1) != PENSTOCK_OK || accepted != 1) return "a good batch";
  return NULL;
}

static penstock_status run(penstock_instance* self, penstock_error* error) {
  (void)self;
  const char* what = misuse(host_of_instance);
  if (what == NULL) return PENSTOCK_OK;
  snprintf(error->text, sizeof error->text, "the host misjudges %s", what);
  return PENSTOCK_E_FAILED;
}

static void nothing(penstock_instance* self) { (void)self; }

PENSTOCK_DEFINE_NOTE(PENSTOCK_SOURCE, "misuse", "1.0.0")
PENSTOCK_EXPORT const penstock_plugin penstock_plugin_entry = {
    PENSTOCK_ENTRY_HEAD(PENSTOCK_SOURCE, "misuse", "1.0.0"),
    .create = create,
    .run = run,
    .stop = nothing,
    .destroy = nothing,
};
