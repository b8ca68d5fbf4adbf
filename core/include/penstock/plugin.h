/* penstock/plugin.h - the boundary between the Penstock host and its plugins. C11 and C++17.
 *
 * A plugin is one shared object that holds one source or one sink, named source-ID.so or
 * sink-ID.so. It exports one data symbol, penstock_plugin_entry, and carries one ELF note, so that
 * the host knows what it is before any of its code runs. C++ authors want penstock/plugin.hpp,
 * which is written on top of this file.
 *
 * Versions: host and plugin of the same major always work together, whatever their minors. For that
 *
 * - structs only grow at their tail, and no member ever changes. Each side reads of a struct what
 *   both know: struct_size, stride or value_size says how much the side that filled it knows, and
 *   what lies beyond is absent. PENSTOCK_HAS() asks for a member that 1.0 did not have.
 *   penstock_str, penstock_kv and penstock_owner never grow, penstock_error.text neither
 *
 * - the elements of an array lie stride bytes apart, not sizeof: penstock_event_at() and
 *   penstock_message_at() find them
 *
 * - reserved members are zero; nobody reads them
 *
 * - new values may join an enum. The host takes an outcome that it does not know as UNKNOWN, a
 *   state as CONNECTING, a level or a severity as the nearest, and passes over flags and
 *   capabilities; it refuses a plugin with a type of option that it does not know. A plugin passes
 *   over flags
 *
 * - a plugin that cannot do without what a later minor brought looks at host->abi_minor in create()
 *   and answers PENSTOCK_E_UNSUPPORTED with a text
 *
 * Memory: whoever allocates, frees. No C++ type, exception, FILE*, file descriptor or allocator
 * crosses. Strings are UTF-8 (payloads: any bytes), counted, not NUL-terminated, unless declared
 * const char*. Times are nanoseconds, sizes are bytes. A pointer is not NULL unless it says so.
 *
 * Threads: each function carries a tag.
 *
 * - [control]: one control thread per instance, never two calls at once; may block where it says so
 *
 * - [data]: one data thread per instance at a time, beside [control]
 *
 * - [any]: any thread, several at once; must not block unless it says so
 *
 * Life of an instance: check, create, start, run (source) or submit (sink), stop, destroy. destroy
 * may follow create or start directly, and check may stand alone. Several instances live at once,
 * two of one name while a reload replaces one; static data is theirs in common. The host never
 * unloads a plugin.
 */
#ifndef PENSTOCK_PLUGIN_H
#define PENSTOCK_PLUGIN_H

#include <stddef.h>
#include <stdint.h>

#define PENSTOCK_ABI_MAJOR 1u
#define PENSTOCK_ABI_MINOR 0u
#define PENSTOCK_MAGIC 0x50454e53u /* "PENS" */
#define PENSTOCK_ID_MAX 48         /* bytes of a plugin id in the note, with its NUL */
#define PENSTOCK_VERSION_MAX 32    /* likewise of its version */
#define PENSTOCK_EVENT_ID_MAX 128  /* bytes of an event's id */

#ifdef __cplusplus
#define PENSTOCK_NOEXCEPT noexcept /* a callback that may throw does not compile */
extern "C" {
#else
#define PENSTOCK_NOEXCEPT
#endif
#define PENSTOCK_EXPORT __attribute__((visibility("default")))

/* Whether a struct that the other side filled reaches as far as a member: for what joined after
 * 1.0. PENSTOCK_HAS(host, penstock_host, later) */
#define PENSTOCK_HAS(PTR, TYPE, MEMBER) \
  ((PTR)->struct_size >= offsetof(TYPE, MEMBER) + sizeof((PTR)->MEMBER))

typedef struct penstock_str {
  const char* ptr; /* may be NULL when len is 0 */
  size_t len;
} penstock_str;

typedef struct penstock_kv {
  penstock_str key, value;
} penstock_kv;

typedef int32_t penstock_status;
enum {
  PENSTOCK_OK = 0,
  PENSTOCK_AGAIN = 1,         /* back-pressure: nothing is wrong, try later */
  PENSTOCK_STOPPED = 2,       /* the host is past taking anything; return from run() */
  PENSTOCK_E_CONFIG = -1,     /* the configuration cannot work; the text says why */
  PENSTOCK_E_FAILED = -2,     /* anything else; the text says what and what to do */
  PENSTOCK_E_UNSUPPORTED = -3 /* the other side is too old, or of the wrong kind */
};

/* The caller's memory for the callee's sentence: what failed, why, what to do next. NUL-terminated,
 * cut to fit; the caller begins it with an empty one. */
typedef struct penstock_error {
  uint32_t struct_size;
  uint32_t reserved;
  char text[1016];
} penstock_error;

/* ---- events: source -> host */

/* Keeps the bytes of one or many events alive. The host calls release(owner, n) to give back n
 * references: one for each event that it accepted, coalesced over neighbours; it may do so after
 * the instance is destroyed. [any], must not block, throw or call the host. */
typedef struct penstock_owner {
  void (*release)(struct penstock_owner* self, uint32_t n) PENSTOCK_NOEXCEPT;
} penstock_owner;

/* Only payload is obligatory. Everything that an event points to lives until its owner is released;
 * with owner NULL the host copies it during emit. */
typedef struct penstock_event {
  penstock_str payload; /* opaque bytes, may be empty */
  penstock_str subject; /* empty: the source's event_name */
  penstock_str id;      /* empty: the host makes one. Else unique within this source, and at most
                           PENSTOCK_EVENT_ID_MAX bytes: a longer one is rejected */
  penstock_str type;    /* empty: the source's event_type */
  penstock_str content_type;     /* empty: application/octet-stream. Never guessed from the bytes */
  const penstock_kv* attributes; /* CloudEvents extension attributes: names [a-z0-9]{1,20} */
  uint32_t n_attributes;
  uint32_t reserved;
  int64_t time_ns;    /* since the Unix epoch; 0: when the host accepted it */
  uint64_t ack_token; /* given back by on_ack; for plugins with PENSTOCK_CAP_ACK */
  penstock_owner* owner;
} penstock_event;

typedef struct penstock_event_batch {
  uint32_t struct_size;
  uint32_t stride; /* sizeof(penstock_event) of the plugin */
  const penstock_event* events;
  size_t count;
} penstock_event_batch;

/* ---- messages: host -> sink */

/* One event, encoded. Everything that it points to lives until its receipt; the penstock_message
 * itself only during submit. */
typedef struct penstock_message {
  uint64_t token; /* names the message in its receipt; unique among those in flight */
  penstock_str payload;
  /* Of payload as encoded; empty in argo, and in raw without a declared type. */
  penstock_str content_type;
  /* The sink's TEMPLATE options, rendered, in the order of its option table. */
  const penstock_str* templates;
  /* CloudEvents attributes by canonical name; only in format cloudevents-binary. */
  const penstock_kv* attributes;
  const penstock_kv* headers; /* the route's own headers, to be sent as they are */
  uint32_t n_attributes, n_headers;
  penstock_str id;  /* the event's id */
  uint32_t attempt; /* 1: the first time that this sink gets it */
  uint32_t reserved;
} penstock_message;

enum {
  /* The lane is in strict order. A sink with a PREFIX capability makes sure that what the bus takes
   * of the lane is always a prefix of what was submitted: once one message fails, those after it
   * fail too (RETRY). */
  PENSTOCK_BATCH_STRICT = 1,
  /* First batch of a strict lane after a failure: every earlier message of the lane has its
   * receipt, and the lane goes on behind the last one delivered. */
  PENSTOCK_BATCH_RESUME = 2
};

/* Messages of one lane (one source's cursor at this sink), in order. */
typedef struct penstock_message_batch {
  uint32_t struct_size;
  uint32_t stride; /* sizeof(penstock_message) of the host */
  const penstock_message* messages;
  size_t count;
  uint32_t lane;  /* small number, the same for the life of the route */
  uint32_t flags; /* PENSTOCK_BATCH_* */
} penstock_message_batch;

enum {
  PENSTOCK_DELIVERED = 0, /* the bus has confirmed it */
  PENSTOCK_RETRY = 1,     /* certainly not taken; sending it again may work */
  PENSTOCK_UNKNOWN = 2,   /* may have been taken: no answer came in time */
  /* Will never be taken: too large, not allowed, invalid. Goes to the dead letters. */
  PENSTOCK_REJECTED = 3
};
enum {
  PENSTOCK_RECEIPT_DUPLICATE = 1, /* DELIVERED, but the bus had this id before */
  /* RETRY only because an earlier message of its strict lane failed. */
  PENSTOCK_RECEIPT_FOLLOWER = 2
};

typedef struct penstock_receipt {
  uint64_t token;
  int32_t outcome; /* PENSTOCK_DELIVERED ... */
  uint32_t flags;  /* PENSTOCK_RECEIPT_* */
  int32_t code;    /* the bus's own code, 0 if none */
  uint32_t reserved;
  penstock_str reason; /* for people; copied during complete() */
} penstock_receipt;

/* ---- options and configuration */

enum {
  PENSTOCK_OPT_STRING = 1,
  PENSTOCK_OPT_INT,
  PENSTOCK_OPT_FLOAT,
  PENSTOCK_OPT_BOOL,
  PENSTOCK_OPT_DURATION, /* "250ms", "10s"; i64 in nanoseconds */
  PENSTOCK_OPT_SIZE,     /* "64KiB"; i64 in bytes */
  PENSTOCK_OPT_LIST,     /* of strings */
  PENSTOCK_OPT_MAP,      /* free keys, values as text; a value may be a secret's reference */
  PENSTOCK_OPT_TEMPLATE, /* sinks: "{source}.{subject}"; the host renders it for each message */
  PENSTOCK_OPT_SECRET,   /* "env:NAME", "file:/path", "credential:NAME"; read it with
                            host->read_secret at each use */
  PENSTOCK_OPT_FILE      /* of a file to read: a path or "credential:NAME"; the plugin gets a path,
                            of a file that may not be there yet */
};
enum { PENSTOCK_OPT_REQUIRED = 1 };

typedef struct penstock_option {
  const char* name; /* dotted for nested tables: "tls.ca_file" */
  int32_t type;
  uint32_t flags;
  const char* default_value; /* as it stands in TOML text, without quotes; NULL: none */
  const char* choices;       /* "a|b|c" or NULL */
  int64_t min, max;          /* INT, DURATION, SIZE, and length of LIST; both 0: no bound */
  const char* help;          /* one sentence */
} penstock_option;

/* One value. Which fields count depends on type. */
typedef struct penstock_value {
  int32_t type;
  int32_t is_set; /* 0: this is the default, or nothing when the option has no default */
  int64_t i64;    /* INT, BOOL, DURATION, SIZE */
  double f64;
  penstock_str str;           /* STRING, TEMPLATE, SECRET (the reference), FILE */
  const penstock_str* items;  /* LIST */
  const penstock_kv* entries; /* MAP, in the file's order */
  size_t n;                   /* of items or entries */
} penstock_value;

/* A source's or sink's table, already checked against the plugin's options. Valid during the call
 * that gets it. */
typedef struct penstock_config {
  uint32_t struct_size;
  uint32_t value_size; /* sizeof(penstock_value) of the host: what lies beyond is absent */
  void* ctx;
  /* The value of an option, by its dotted name; never NULL for an option of the table. Also
   * answers, for sources, "event_source", "event_name", "event_type" and "read_ahead_bytes" (SIZE:
   * what host->read_ahead_bytes will be); for sinks, "format", "max_in_flight.events",
   * "max_in_flight.bytes". NULL for any other name. [control] */
  const penstock_value* (*get)(const struct penstock_config*, const char* name)PENSTOCK_NOEXCEPT;
} penstock_config;

enum { PENSTOCK_NOTICE = 0, PENSTOCK_WARNING = 1, PENSTOCK_ERROR = 2 };

/* Where check() says what it found, and only there; the host adds file, line and column. */
typedef struct penstock_report {
  uint32_t struct_size;
  uint32_t reserved;
  void* ctx;
  /* option: dotted name, or "map_option/key" for a key of a MAP, or "" for the whole table. */
  void (*add)(const struct penstock_report*, int32_t severity, const char* option,
              penstock_str text) PENSTOCK_NOEXCEPT;
  /* A source whose origin is not told what was taken: how many bytes that the origin takes for sent
   * the source may hold before emit, those in the network included. They are lost when the process
   * is killed; `penstock check` shows the figure. */
  void (*holds)(const struct penstock_report*, uint64_t bytes) PENSTOCK_NOEXCEPT;
} penstock_report;

/* ---- host services, one table per instance, valid from create() until destroy() has returned */

enum { PENSTOCK_LOG_DEBUG = 1, PENSTOCK_LOG_INFO, PENSTOCK_LOG_WARN, PENSTOCK_LOG_ERROR };
enum {
  /* Not usable now, being worked on; the host submits nothing to such a sink. */
  PENSTOCK_STATE_CONNECTING = 1,
  PENSTOCK_STATE_READY,
  PENSTOCK_STATE_FAILED /* not usable until somebody changes something */
};
enum { PENSTOCK_METRIC_COUNTER = 1, PENSTOCK_METRIC_GAUGE };

/* Every function of 1.0 is there. One that is not for the instance's kind does nothing, is logged,
 * and answers PENSTOCK_E_UNSUPPORTED or 0. */
typedef struct penstock_host {
  uint32_t struct_size;
  uint16_t abi_major, abi_minor;
  void* ctx;                 /* the host's */
  const char* instance_name; /* the name of the [sources.NAME] or [sinks.NAME] table */
  const char* host_version;
  const int32_t* log_level;  /* lowest level that is kept; read it (relaxed) before formatting */
  uint64_t read_ahead_bytes; /* sources: what the instance may buffer before emit, at most. Changes
                                never */
  /* Log a line. Newlines become spaces. [any] */
  void (*log)(const struct penstock_host*, int32_t level, penstock_str text,
              const penstock_kv* fields, size_t n) PENSTOCK_NOEXCEPT;
  /* A cell for penstock_count() that lives as long as the process; seen as penstock_plugin_ID_NAME.
   * NULL when there are too many, or name is not of [a-z_]. Counters end in _total. [control] */
  uint64_t* (*metric)(const struct penstock_host*, int32_t kind, const char* name,
                      const char* help)PENSTOCK_NOEXCEPT;
  /* Say what state the connection is in; text says why. One line is logged per change. A sink that
   * never reports is READY once start() has returned PENSTOCK_OK. [any] */
  void (*report_state)(const struct penstock_host*, int32_t state,
                       penstock_str text) PENSTOCK_NOEXCEPT;
  /* Read a secret now: reference is the value of a SECRET option, or of a MAP entry that looks like
   * one. One trailing newline is cut. Writes at most cap bytes and sets *len; PENSTOCK_E_FAILED
   * with a text when it cannot be read or does not fit. The error may be NULL. May read a file.
   * [any] */
  penstock_status (*read_secret)(const struct penstock_host*, penstock_str reference, char* buf,
                                 size_t cap, size_t* len, penstock_error*) PENSTOCK_NOEXCEPT;
  /* Source -> queue. Takes the first *accepted events in order; the rest stay with the plugin.
   * timeout_ns 0: try; < 0: wait for room until the host shuts down. OK: all taken (or dropped by
   * the user's policy, and counted); AGAIN: no room in time; STOPPED: nothing will be taken any
   * more; E_FAILED: the batch is none (its struct_size or stride cannot be), nothing was taken.
   * After stop() emit still takes what the plugin had already received. [data] */
  penstock_status (*emit)(const struct penstock_host*, const penstock_event_batch*,
                          size_t* accepted, int64_t timeout_ns) PENSTOCK_NOEXCEPT;
  /* Whether stop() has been or is being called. Sources. [any] */
  int32_t (*stopping)(const struct penstock_host*) PENSTOCK_NOEXCEPT;
  /* Sink -> host: exactly one receipt for each accepted message, in any order, best in batches; n
   * of them, receipt_stride of the plugin apart. Only appends to a list and wakes the host: it may
   * be called inside submit. After it the message's memory is gone. A receipt for what is not in
   * flight is logged and passed over. [any] */
  void (*complete)(const struct penstock_host*, const penstock_receipt*,
                   size_t n) PENSTOCK_NOEXCEPT;
  /* After submit answered AGAIN: there is room again. [any] */
  void (*ready)(const struct penstock_host*) PENSTOCK_NOEXCEPT;
  /* Later additions, by name; NULL when unknown. [any] */
  const void* (*extension)(const struct penstock_host*, const char* id)PENSTOCK_NOEXCEPT;
} penstock_host;

/* ---- the plugin */

enum { PENSTOCK_SOURCE = 1, PENSTOCK_SINK = 2 };
enum {
  PENSTOCK_CAP_ACK = 1, /* source: wants on_ack */
  /* Sink: keeps the promise of PENSTOCK_BATCH_STRICT on any number of lanes. */
  PENSTOCK_CAP_PREFIX = 2,
  PENSTOCK_CAP_PREFIX_SINGLE = 4, /* sink: keeps it when it has one lane only */
  PENSTOCK_CAP_DEDUPLICATES = 8,  /* sink: the bus drops a repeated id for a while */
  /* Sink: tries again by itself until the bus answers for good, or cancel; so the host cannot count
   * attempts. */
  PENSTOCK_CAP_RETRIES = 16
};

typedef struct penstock_instance penstock_instance; /* the plugin's own */

/* Constant for the life of the process; the host reads it once. */
typedef struct penstock_plugin {
  uint32_t magic;
  uint16_t abi_major, abi_minor; /* as in the note */
  uint32_t struct_size;
  uint32_t kind; /* PENSTOCK_SOURCE or PENSTOCK_SINK; as in the note */
  uint32_t caps;
  uint32_t option_stride;  /* sizeof(penstock_option) of the plugin */
  uint32_t receipt_stride; /* sizeof(penstock_receipt) of the plugin; sources too */
  uint32_t reserved;
  const char *id, *version; /* as in the note: [a-z0-9-], and printable without blanks */
  /* May be NULL. summary: one sentence; license: an SPDX expression. */
  const char *summary, *vendor, *license, *doc_url;
  const penstock_option* options; /* NULL when there are none */
  size_t n_options;

  /* Judge the configuration without I/O; report any number of findings. May be NULL. [control] */
  void (*check)(const penstock_config*, const penstock_report*) PENSTOCK_NOEXCEPT;
  /* Make an instance, not NULL: no I/O, no threads. host stays valid until destroy returns.
   * [control] */
  penstock_status (*create)(const penstock_host*, const penstock_config*, penstock_instance**,
                            penstock_error*) PENSTOCK_NOEXCEPT;
  /* Begin. A peer that is away is no error: connect in the background and report_state. May be
   * NULL. [control] */
  penstock_status (*start)(penstock_instance*, penstock_error*) PENSTOCK_NOEXCEPT;
  /* Make run() return soon (source), or give every message its receipt soon, RETRY or UNKNOWN
   * (sink; no submit follows). Does not wait. May be called more than once and before start.
   * [control] */
  void (*stop)(penstock_instance*) PENSTOCK_NOEXCEPT;
  /* Join own threads, free all. Runs after run() has returned and no other call is under way. The
   * host must not be called once it returns. [control] */
  void (*destroy)(penstock_instance*) PENSTOCK_NOEXCEPT;

  /* Source: emit events until stop(), or until something fails that trying again cannot mend. OK
   * (or any status above it) before stop() means that the source is finished for good. [data] */
  penstock_status (*run)(penstock_instance*, penstock_error*) PENSTOCK_NOEXCEPT;
  /* Source: these are safe now (stored on disk, or settled by every sink). With PENSTOCK_CAP_ACK.
   * It may come from within emit, so hold no lock across emit that on_ack takes. [any] */
  void (*on_ack)(penstock_instance*, const uint64_t* ack_tokens, size_t n) PENSTOCK_NOEXCEPT;

  /* Sink: take the first *accepted messages. Never blocks on the network. OK: all are taken; AGAIN:
   * no more now, ready() will follow; anything else counts against the source's events there, which
   * are tried again later. An accepted message gets exactly one receipt. [data] */
  penstock_status (*submit)(penstock_instance*, const penstock_message_batch*,
                            size_t* accepted) PENSTOCK_NOEXCEPT;
  /* Sink: give up on these if that is possible; each still gets its one receipt. Best effort, may
   * be NULL. [data] */
  void (*cancel)(penstock_instance*, const uint64_t* tokens, size_t n) PENSTOCK_NOEXCEPT;
  /* Sink: nothing more will come for a while, send what is buffered now. May be NULL. [data] */
  void (*flush)(penstock_instance*) PENSTOCK_NOEXCEPT;

  /* Later additions, by name; may be NULL. [any] */
  const void* (*extension)(penstock_instance*, const char* id)PENSTOCK_NOEXCEPT;
} penstock_plugin;

extern PENSTOCK_EXPORT const penstock_plugin penstock_plugin_entry;

/* The note: owner "Penstock", type 1. Read by the host without loading the file. */
typedef struct penstock_note {
  uint32_t namesz, descsz, type;
  char name[12]; /* "Penstock", padded to 4 */
  uint32_t magic, abi_major, abi_minor, kind;
  char id[PENSTOCK_ID_MAX];
  char version[PENSTOCK_VERSION_MAX];
} penstock_note;

/* In C: how the entry's initializer begins, with the kind, id and version of the note.
 *
 * PENSTOCK_DEFINE_NOTE(PENSTOCK_SINK, "null", "1.0.0")
 * PENSTOCK_EXPORT const penstock_plugin penstock_plugin_entry = {
 *     PENSTOCK_ENTRY_HEAD(PENSTOCK_SINK, "null", "1.0.0"), .create = create, ... }; */
#define PENSTOCK_ENTRY_HEAD(KIND, ID, VERSION)                                                    \
  .magic = PENSTOCK_MAGIC, .abi_major = PENSTOCK_ABI_MAJOR, .abi_minor = PENSTOCK_ABI_MINOR,      \
  .struct_size = sizeof(penstock_plugin), .kind = KIND, .option_stride = sizeof(penstock_option), \
  .receipt_stride = sizeof(penstock_receipt), .id = ID, .version = VERSION

/* Once per plugin: PENSTOCK_DEFINE_NOTE(PENSTOCK_SINK, "null", "1.0.0") */
#define PENSTOCK_DEFINE_NOTE(KIND, ID, VERSION)                              \
  __attribute__((used, section(".note.penstock"),                            \
                 aligned(4))) static const penstock_note penstock_note_1 = { \
      9,                                                                     \
      16 + PENSTOCK_ID_MAX + PENSTOCK_VERSION_MAX,                           \
      1,                                                                     \
      "Penstock",                                                            \
      PENSTOCK_MAGIC,                                                        \
      PENSTOCK_ABI_MAJOR,                                                    \
      PENSTOCK_ABI_MINOR,                                                    \
      KIND,                                                                  \
      ID,                                                                    \
      VERSION};

static inline const penstock_event* penstock_event_at(const penstock_event_batch* b, size_t i) {
  return (const penstock_event*)(const void*)((const char*)b->events + i * b->stride);
}
static inline const penstock_message* penstock_message_at(const penstock_message_batch* b,
                                                          size_t i) {
  return (const penstock_message*)(const void*)((const char*)b->messages + i * b->stride);
}
static inline void penstock_count(uint64_t* metric, uint64_t n) {
  if (metric) (void)__atomic_fetch_add(metric, n, __ATOMIC_RELAXED);
}

#ifdef __cplusplus
} /* extern "C" */
#endif
#endif /* PENSTOCK_PLUGIN_H */
