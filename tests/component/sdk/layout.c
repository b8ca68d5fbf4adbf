/* The layout and the numbers of ABI 1.0 on 64-bit machines. A line that no longer holds means that
 * plugins built before will misread what they get: undo the change. Members join at the tail of a
 * struct (GROWS), numbers behind the last of an enum, and PENSTOCK_ABI_MINOR goes up by one. No
 * line here is ever changed while the major is 1. */
#include <penstock/plugin.h>

#ifdef __cplusplus
#define HOLDS(WHAT) static_assert(WHAT, #WHAT)
#else
#define HOLDS(WHAT) _Static_assert(WHAT, #WHAT)
#endif
#define SIZE(TYPE, BYTES) HOLDS(sizeof(TYPE) == BYTES)
#define GROWS(TYPE, BYTES) HOLDS(sizeof(TYPE) >= BYTES)
#define AT(TYPE, MEMBER, OFFSET) HOLDS(offsetof(TYPE, MEMBER) == OFFSET)

SIZE(penstock_str, 16);
AT(penstock_str, ptr, 0);
AT(penstock_str, len, 8);

SIZE(penstock_kv, 32);
AT(penstock_kv, key, 0);
AT(penstock_kv, value, 16);

GROWS(penstock_error, 1024);
AT(penstock_error, struct_size, 0);
AT(penstock_error, reserved, 4);
AT(penstock_error, text, 8);
HOLDS(sizeof(((penstock_error*)0)->text) == 1016);

SIZE(penstock_owner, 8);
AT(penstock_owner, release, 0);

GROWS(penstock_event, 120);
AT(penstock_event, payload, 0);
AT(penstock_event, subject, 16);
AT(penstock_event, id, 32);
AT(penstock_event, type, 48);
AT(penstock_event, content_type, 64);
AT(penstock_event, attributes, 80);
AT(penstock_event, n_attributes, 88);
AT(penstock_event, reserved, 92);
AT(penstock_event, time_ns, 96);
AT(penstock_event, ack_token, 104);
AT(penstock_event, owner, 112);

GROWS(penstock_event_batch, 24);
AT(penstock_event_batch, struct_size, 0);
AT(penstock_event_batch, stride, 4);
AT(penstock_event_batch, events, 8);
AT(penstock_event_batch, count, 16);

GROWS(penstock_message, 96);
AT(penstock_message, token, 0);
AT(penstock_message, payload, 8);
AT(penstock_message, content_type, 24);
AT(penstock_message, templates, 40);
AT(penstock_message, attributes, 48);
AT(penstock_message, headers, 56);
AT(penstock_message, n_attributes, 64);
AT(penstock_message, n_headers, 68);
AT(penstock_message, id, 72);
AT(penstock_message, attempt, 88);
AT(penstock_message, reserved, 92);

GROWS(penstock_message_batch, 32);
AT(penstock_message_batch, struct_size, 0);
AT(penstock_message_batch, stride, 4);
AT(penstock_message_batch, messages, 8);
AT(penstock_message_batch, count, 16);
AT(penstock_message_batch, lane, 24);
AT(penstock_message_batch, flags, 28);

GROWS(penstock_receipt, 40);
AT(penstock_receipt, token, 0);
AT(penstock_receipt, outcome, 8);
AT(penstock_receipt, flags, 12);
AT(penstock_receipt, code, 16);
AT(penstock_receipt, reserved, 20);
AT(penstock_receipt, reason, 24);

GROWS(penstock_option, 56);
AT(penstock_option, name, 0);
AT(penstock_option, type, 8);
AT(penstock_option, flags, 12);
AT(penstock_option, default_value, 16);
AT(penstock_option, choices, 24);
AT(penstock_option, min, 32);
AT(penstock_option, max, 40);
AT(penstock_option, help, 48);

GROWS(penstock_value, 64);
AT(penstock_value, type, 0);
AT(penstock_value, is_set, 4);
AT(penstock_value, i64, 8);
AT(penstock_value, f64, 16);
AT(penstock_value, str, 24);
AT(penstock_value, items, 40);
AT(penstock_value, entries, 48);
AT(penstock_value, n, 56);

GROWS(penstock_config, 24);
AT(penstock_config, struct_size, 0);
AT(penstock_config, value_size, 4);
AT(penstock_config, ctx, 8);
AT(penstock_config, get, 16);

GROWS(penstock_report, 32);
AT(penstock_report, struct_size, 0);
AT(penstock_report, reserved, 4);
AT(penstock_report, ctx, 8);
AT(penstock_report, add, 16);
AT(penstock_report, holds, 24);

GROWS(penstock_host, 120);
AT(penstock_host, struct_size, 0);
AT(penstock_host, abi_major, 4);
AT(penstock_host, abi_minor, 6);
AT(penstock_host, ctx, 8);
AT(penstock_host, instance_name, 16);
AT(penstock_host, host_version, 24);
AT(penstock_host, log_level, 32);
AT(penstock_host, read_ahead_bytes, 40);
AT(penstock_host, log, 48);
AT(penstock_host, metric, 56);
AT(penstock_host, report_state, 64);
AT(penstock_host, read_secret, 72);
AT(penstock_host, emit, 80);
AT(penstock_host, stopping, 88);
AT(penstock_host, complete, 96);
AT(penstock_host, ready, 104);
AT(penstock_host, extension, 112);

GROWS(penstock_plugin, 184);
AT(penstock_plugin, magic, 0);
AT(penstock_plugin, abi_major, 4);
AT(penstock_plugin, abi_minor, 6);
AT(penstock_plugin, struct_size, 8);
AT(penstock_plugin, kind, 12);
AT(penstock_plugin, caps, 16);
AT(penstock_plugin, option_stride, 20);
AT(penstock_plugin, receipt_stride, 24);
AT(penstock_plugin, reserved, 28);
AT(penstock_plugin, id, 32);
AT(penstock_plugin, version, 40);
AT(penstock_plugin, summary, 48);
AT(penstock_plugin, vendor, 56);
AT(penstock_plugin, license, 64);
AT(penstock_plugin, doc_url, 72);
AT(penstock_plugin, options, 80);
AT(penstock_plugin, n_options, 88);
AT(penstock_plugin, check, 96);
AT(penstock_plugin, create, 104);
AT(penstock_plugin, start, 112);
AT(penstock_plugin, stop, 120);
AT(penstock_plugin, destroy, 128);
AT(penstock_plugin, run, 136);
AT(penstock_plugin, on_ack, 144);
AT(penstock_plugin, submit, 152);
AT(penstock_plugin, cancel, 160);
AT(penstock_plugin, flush, 168);
AT(penstock_plugin, extension, 176);

SIZE(penstock_note, 120);
AT(penstock_note, namesz, 0);
AT(penstock_note, descsz, 4);
AT(penstock_note, type, 8);
AT(penstock_note, name, 12);
AT(penstock_note, magic, 24);
AT(penstock_note, abi_major, 28);
AT(penstock_note, abi_minor, 32);
AT(penstock_note, kind, 36);
AT(penstock_note, id, 40);
AT(penstock_note, version, 88);

HOLDS(PENSTOCK_ABI_MAJOR == 1);
HOLDS(PENSTOCK_MAGIC == 0x50454e53);
HOLDS(PENSTOCK_ID_MAX == 48);
HOLDS(PENSTOCK_VERSION_MAX == 32);
HOLDS(PENSTOCK_EVENT_ID_MAX == 128);

HOLDS(PENSTOCK_OK == 0);
HOLDS(PENSTOCK_AGAIN == 1);
HOLDS(PENSTOCK_STOPPED == 2);
HOLDS(PENSTOCK_E_CONFIG == -1);
HOLDS(PENSTOCK_E_FAILED == -2);
HOLDS(PENSTOCK_E_UNSUPPORTED == -3);

HOLDS(PENSTOCK_BATCH_STRICT == 1);
HOLDS(PENSTOCK_BATCH_RESUME == 2);

HOLDS(PENSTOCK_DELIVERED == 0);
HOLDS(PENSTOCK_RETRY == 1);
HOLDS(PENSTOCK_UNKNOWN == 2);
HOLDS(PENSTOCK_REJECTED == 3);

HOLDS(PENSTOCK_RECEIPT_DUPLICATE == 1);
HOLDS(PENSTOCK_RECEIPT_FOLLOWER == 2);

HOLDS(PENSTOCK_OPT_STRING == 1);
HOLDS(PENSTOCK_OPT_INT == 2);
HOLDS(PENSTOCK_OPT_FLOAT == 3);
HOLDS(PENSTOCK_OPT_BOOL == 4);
HOLDS(PENSTOCK_OPT_DURATION == 5);
HOLDS(PENSTOCK_OPT_SIZE == 6);
HOLDS(PENSTOCK_OPT_LIST == 7);
HOLDS(PENSTOCK_OPT_MAP == 8);
HOLDS(PENSTOCK_OPT_TEMPLATE == 9);
HOLDS(PENSTOCK_OPT_SECRET == 10);
HOLDS(PENSTOCK_OPT_FILE == 11);

HOLDS(PENSTOCK_OPT_REQUIRED == 1);

HOLDS(PENSTOCK_NOTICE == 0);
HOLDS(PENSTOCK_WARNING == 1);
HOLDS(PENSTOCK_ERROR == 2);

HOLDS(PENSTOCK_LOG_DEBUG == 1);
HOLDS(PENSTOCK_LOG_INFO == 2);
HOLDS(PENSTOCK_LOG_WARN == 3);
HOLDS(PENSTOCK_LOG_ERROR == 4);

HOLDS(PENSTOCK_STATE_CONNECTING == 1);
HOLDS(PENSTOCK_STATE_READY == 2);
HOLDS(PENSTOCK_STATE_FAILED == 3);

HOLDS(PENSTOCK_METRIC_COUNTER == 1);
HOLDS(PENSTOCK_METRIC_GAUGE == 2);

HOLDS(PENSTOCK_SOURCE == 1);
HOLDS(PENSTOCK_SINK == 2);

HOLDS(PENSTOCK_CAP_ACK == 1);
HOLDS(PENSTOCK_CAP_PREFIX == 2);
HOLDS(PENSTOCK_CAP_PREFIX_SINGLE == 4);
HOLDS(PENSTOCK_CAP_DEDUPLICATES == 8);
HOLDS(PENSTOCK_CAP_RETRIES == 16);
