/* plugin.h alone, in C and in C++, with every warning an error. */
#include <penstock/plugin.h>

extern int penstock_header_used;
int penstock_header_used = (int)sizeof(penstock_plugin);
