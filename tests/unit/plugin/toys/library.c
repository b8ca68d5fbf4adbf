/* A library that a toy is linked against; what it exports is said by the version script. */
__attribute__((visibility("default"))) int penstock_toy_library(void) { return 0; }
