/* A sink that delivers all that it gets, in as many variants as the loader's tests need. */
#include <fcntl.h>
#include <penstock/plugin.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef TOY_ID
#define TOY_ID "toy"
#endif
#ifndef TOY_VERSION
#define TOY_VERSION "1.0.0"
#endif
#ifndef TOY_ENTRY_VERSION
#define TOY_ENTRY_VERSION TOY_VERSION
#endif
#ifndef TOY_FACTOR
#define TOY_FACTOR 1
#endif

#ifdef TOY_CALLS
int TOY_CALLS(void);
#endif

struct penstock_instance {
  const penstock_host* host;
};

/* Shows a test whether any code of this file ran. */
__attribute__((constructor)) static void leave_mark(void) {
  const char* path = getenv("PENSTOCK_TOY_MARK");
  if (path == NULL) return;
  const int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
  if (fd >= 0) close(fd);
}

static const uint64_t kTable[16] = {3, 1, 4, 1, 5, 9, 2, 6, 5, 3, 5, 8, 9, 7, 9, 3};

/* Reads code and constants of this file for as long as n says. */
static uint64_t sum(uint64_t n) {
  uint64_t out = 0;
  for (uint64_t i = 0; i < n; ++i) out += kTable[i % 16] * TOY_FACTOR;
  return out;
}

static penstock_status create(const penstock_host* host, const penstock_config* config,
                              penstock_instance** out, penstock_error* error) {
  (void)config;
  (void)error;
  *out = malloc(sizeof **out);
  if (*out == NULL) return PENSTOCK_E_FAILED;
  (*out)->host = host;
#ifdef TOY_CALLS
  return TOY_CALLS() == 0 ? PENSTOCK_OK : PENSTOCK_E_FAILED;
#else
  return PENSTOCK_OK;
#endif
}

static void stop(penstock_instance* self) { (void)self; }
static void destroy(penstock_instance* self) { free(self); }

static penstock_status submit(penstock_instance* self, const penstock_message_batch* batch,
                              size_t* accepted) {
  for (size_t i = 0; i < batch->count; ++i) {
    penstock_receipt receipt = {0};
    receipt.token = penstock_message_at(batch, i)->token;
    receipt.outcome = PENSTOCK_DELIVERED;
    self->host->complete(self->host, &receipt, 1);
  }
  *accepted = batch->count;
  return PENSTOCK_OK;
}

static const void* extension(penstock_instance* self, const char* id) {
  static uint64_t (*const kSum)(uint64_t) = sum;
  (void)self;
  return strcmp(id, "toy.sum") == 0 ? (const void*)&kSum : NULL;
}

static const penstock_option kOptions[] = {
    {"path", PENSTOCK_OPT_STRING, PENSTOCK_OPT_REQUIRED, NULL, NULL, 0, 0, "Where it goes."},
    {"pace", PENSTOCK_OPT_DURATION, 0, "250ms", NULL, 1000000, 60000000000, "How long it rests."},
    {"mode", PENSTOCK_OPT_STRING, 0, "soft", "soft|hard", 0, 0, "How it treats what it gets."},
    {"tls.key", PENSTOCK_OPT_SECRET, 0, NULL, NULL, 0, 0, "The key."},
};

PENSTOCK_DEFINE_NOTE(PENSTOCK_SINK, TOY_ID, TOY_VERSION)

#ifdef TOY_SECOND_NOTE
#define penstock_note_1 second_note
PENSTOCK_DEFINE_NOTE(PENSTOCK_SINK, "second", TOY_VERSION)
#undef penstock_note_1
#endif

#ifndef TOY_NO_ENTRY
PENSTOCK_EXPORT const penstock_plugin penstock_plugin_entry = {
    PENSTOCK_ENTRY_HEAD(PENSTOCK_SINK, TOY_ID, TOY_ENTRY_VERSION),
    .caps = PENSTOCK_CAP_PREFIX | PENSTOCK_CAP_DEDUPLICATES,
    .summary = "Delivers all that it gets to nobody.",
    .vendor = "The tests",
    .license = "MIT",
    .doc_url = NULL,
    .options = kOptions,
    .n_options = sizeof kOptions / sizeof kOptions[0],
    .create = create,
    .stop = stop,
    .destroy = destroy,
    .submit = submit,
    .extension = extension,
};
#else
/* Used, so that the compiler keeps and accepts what only the entry names. */
__attribute__((used)) static const void* const kUnused[] = {
    &kOptions,           (const void*)create,   (const void*)stop, (const void*)destroy,
    (const void*)submit, (const void*)extension};
#endif
