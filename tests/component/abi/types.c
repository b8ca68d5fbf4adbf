/* Every type of plugin.h hangs on one function: what abidw writes of this library is the ABI. */
#include <penstock/plugin.h>

PENSTOCK_EXPORT void penstock_abi(const penstock_plugin* plugin, const penstock_host* host,
                                  const penstock_config* config, const penstock_report* report,
                                  const penstock_event_batch* events,
                                  const penstock_message_batch* messages,
                                  const penstock_receipt* receipts, const penstock_option* options,
                                  penstock_error* error, const penstock_note* note);
PENSTOCK_EXPORT void penstock_abi(const penstock_plugin* plugin, const penstock_host* host,
                                  const penstock_config* config, const penstock_report* report,
                                  const penstock_event_batch* events,
                                  const penstock_message_batch* messages,
                                  const penstock_receipt* receipts, const penstock_option* options,
                                  penstock_error* error, const penstock_note* note) {
  (void)plugin, (void)host, (void)config, (void)report, (void)events, (void)messages;
  (void)receipts, (void)options, (void)error, (void)note;
}
