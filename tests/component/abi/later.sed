# plugin.h as ABI 1.7 could be: all that may grow has grown by two members.
s/^#define PENSTOCK_ABI_MINOR .*/#define PENSTOCK_ABI_MINOR 7u/
s/^\} penstock_(error|event|event_batch|message|message_batch|receipt|option|value|config|report|host|plugin);/  uint64_t later[2];\n&/
