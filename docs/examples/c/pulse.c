/* A whole source plugin in C: emits a number of events as fast as they are taken. */
#include <penstock/plugin.h>
#include <stdio.h>
#include <stdlib.h>

struct penstock_instance {
  const penstock_host* host;
  int64_t count;
};

static penstock_status create(const penstock_host* host, const penstock_config* config,
                              penstock_instance** out, penstock_error* error) {
  penstock_instance* self = calloc(1, sizeof *self);
  if (self == NULL) {
    snprintf(error->text, sizeof error->text, "no memory");
    return PENSTOCK_E_FAILED;
  }
  self->host = host;
  self->count = config->get(config, "count")->i64;
  *out = self;
  return PENSTOCK_OK;
}

static penstock_status run(penstock_instance* self, penstock_error* error) {
  (void)error;
  for (int64_t n = 1; n <= self->count && !self->host->stopping(self->host); ++n) {
    char text[32];
    const int length = snprintf(text, sizeof text, "pulse %lld", (long long)n);
    /* Without an owner the host copies what the event points to before emit returns. */
    const penstock_event event = {.payload = {text, (size_t)length},
                                  .content_type = {"text/plain", 10}};
    const penstock_event_batch batch = {
        .struct_size = sizeof batch, .stride = sizeof event, .events = &event, .count = 1};
    size_t accepted = 0;
    const penstock_status status = self->host->emit(self->host, &batch, &accepted, -1);
    if (status != PENSTOCK_OK) return status < 0 ? status : PENSTOCK_OK;
  }
  return PENSTOCK_OK;
}

/* run() asks the host whether to go on. */
static void stop(penstock_instance* self) { (void)self; }
static void destroy(penstock_instance* self) { free(self); }

static const penstock_option kOptions[] = {
    {.name = "count",
     .type = PENSTOCK_OPT_INT,
     .default_value = "10",
     .min = 1,
     .max = 1000000,
     .help = "Events after which the source is finished."},
};

PENSTOCK_DEFINE_NOTE(PENSTOCK_SOURCE, "pulse", "1.0.0")
PENSTOCK_EXPORT const penstock_plugin penstock_plugin_entry = {
    PENSTOCK_ENTRY_HEAD(PENSTOCK_SOURCE, "pulse", "1.0.0"),
    .summary = "Emits a number of events at once.",
    .options = kOptions,
    .n_options = sizeof kOptions / sizeof kOptions[0],
    .create = create,
    .run = run,
    .stop = stop,
    .destroy = destroy,
};
