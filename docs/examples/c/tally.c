/* A whole sink plugin in C: counts events and bytes, and delivers to nobody. */
#include <penstock/plugin.h>
#include <stdio.h>
#include <stdlib.h>

struct penstock_instance {
  const penstock_host* host;
  uint64_t* bytes; /* a metric of the host's; may be NULL */
};

static penstock_status create(const penstock_host* host, const penstock_config* config,
                              penstock_instance** out, penstock_error* error) {
  (void)config;
  penstock_instance* self = calloc(1, sizeof *self);
  if (self == NULL) {
    snprintf(error->text, sizeof error->text, "no memory");
    return PENSTOCK_E_FAILED;
  }
  self->host = host;
  self->bytes = host->metric(host, PENSTOCK_METRIC_COUNTER, "bytes_total", "Bytes counted.");
  *out = self;
  return PENSTOCK_OK;
}

static penstock_status submit(penstock_instance* self, const penstock_message_batch* batch,
                              size_t* accepted) {
  for (size_t i = 0; i < batch->count; ++i) {
    const penstock_message* message = penstock_message_at(batch, i);
    const penstock_receipt receipt = {.token = message->token, .outcome = PENSTOCK_DELIVERED};
    penstock_count(self->bytes, message->payload.len);
    self->host->complete(self->host, &receipt, 1);
  }
  *accepted = batch->count;
  return PENSTOCK_OK;
}

static void stop(penstock_instance* self) { (void)self; }
static void destroy(penstock_instance* self) { free(self); }

PENSTOCK_DEFINE_NOTE(PENSTOCK_SINK, "tally", "1.0.0")
PENSTOCK_EXPORT const penstock_plugin penstock_plugin_entry = {
    PENSTOCK_ENTRY_HEAD(PENSTOCK_SINK, "tally", "1.0.0"),
    .summary = "Counts events and bytes.",
    .create = create,
    .submit = submit,
    .stop = stop,
    .destroy = destroy,
};
