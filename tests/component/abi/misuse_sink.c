/* A sink that does what plugin.h does not allow. With empty = true it makes no instance. */
#include <penstock/plugin.h>
#include <stdio.h>

static const penstock_host* host_of_instance;
struct penstock_instance {
  int unused;
};
static penstock_instance instance;

static penstock_status create(const penstock_host* host, const penstock_config* config,
                              penstock_instance** out, penstock_error* error) {
  size_t accepted = 7;
  host_of_instance = host;
  if (host->emit(host, NULL, &accepted, -1) != PENSTOCK_E_UNSUPPORTED || accepted != 0 ||
      host->stopping(host) != 0) {
    snprintf(error->text, sizeof error->text, "the host lets a sink emit");
    return PENSTOCK_E_FAILED;
  }
  *out = config->get(config, "empty")->i64 ? NULL : &instance;
  return PENSTOCK_OK;
}

/* An outcome of a later minor counts as unknown; the second receipt is passed over. */
static penstock_status submit(penstock_instance* self, const penstock_message_batch* batch,
                              size_t* accepted) {
  (void)self;
  for (size_t i = 0; i < batch->count; ++i) {
    const penstock_message* message = penstock_message_at(batch, i);
    const penstock_receipt receipt = {
        .token = message->token,
        .outcome = message->attempt == 1 ? 99 : PENSTOCK_DELIVERED,
        .flags = ~0u & ~(uint32_t)(PENSTOCK_RECEIPT_DUPLICATE | PENSTOCK_RECEIPT_FOLLOWER),
        .reason = {"of a later minor", 16}};
    host_of_instance->complete(host_of_instance, &receipt, 1);
    host_of_instance->complete(host_of_instance, &receipt, 1);
  }
  *accepted = batch->count;
  return PENSTOCK_OK;
}

static void nothing(penstock_instance* self) { (void)self; }

static const penstock_option kOptions[] = {
    {.name = "empty", .type = PENSTOCK_OPT_BOOL, .default_value = "false"}};

PENSTOCK_DEFINE_NOTE(PENSTOCK_SINK, "misuse", "1.0.0")
PENSTOCK_EXPORT const penstock_plugin penstock_plugin_entry = {
    PENSTOCK_ENTRY_HEAD(PENSTOCK_SINK, "misuse", "1.0.0"),
    .options = kOptions,
    .n_options = 1,
    .create = create,
    .submit = submit,
    .stop = nothing,
    .destroy = nothing,
};
