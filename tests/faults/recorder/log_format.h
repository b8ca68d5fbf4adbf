/* The log that recorder.so writes and the image builder reads: records one behind the other, each a
 * head, a path and data, in the machine's byte order. The order of the records is the order in
 * which the calls took effect; a cut between two records is a power cut at that moment. */
#ifndef PENSTOCK_TESTS_FAULTS_RECORDER_LOG_FORMAT_H
#define PENSTOCK_TESTS_FAULTS_RECORDER_LOG_FORMAT_H

#include <stdint.h>

#define RECORD_MAGIC 0x43455250u /* "PREC" */

/* Paths are relative to the recorded directory; "" is the directory itself. */
enum penstock_record_kind {
  RECORD_BASE_DIR = 1,    /* was there before: path, inode */
  RECORD_BASE_FILE,       /* was there before: path, inode, data */
  RECORD_OPEN,            /* path, inode, detail: flags of open, op 1: this call created the file */
  RECORD_CLOSE,           /* inode */
  RECORD_WRITE,           /* inode, offset, data: is in the page cache now */
  RECORD_SYNC_WRITE,      /* likewise through O_DSYNC or O_SYNC, about to be called; op names it */
  RECORD_SYNC_WRITE_DONE, /* op, result: bytes, or -errno */
  RECORD_TRUNCATE,        /* inode, offset: the new size */
  RECORD_FALLOCATE,       /* inode, offset, length, detail: mode */
  RECORD_SYNC,            /* inode, op, detail: enum penstock_record_sync; about to be called */
  RECORD_SYNC_DONE,       /* inode, op, result: 0 or -errno */
  RECORD_RENAME,          /* path: FROM NUL TO, inode */
  RECORD_LINK,            /* path: FROM NUL TO, inode */
  RECORD_UNLINK,          /* path, inode */
  RECORD_MKDIR,           /* path, inode */
  RECORD_RMDIR,           /* path, inode */
  RECORD_MARK,            /* data: what the test said at this moment */
  RECORD_ERROR            /* data: a call whose effect this log cannot hold; the log is no proof */
};

/* RECORD_SYNC_RANGE and RECORD_SYNC_MSYNC make nothing durable: sync_file_range does not flush the
 * disk's cache, and a shared mapping that is written is an error anyway. */
enum penstock_record_sync {
  RECORD_SYNC_FSYNC = 1,
  RECORD_SYNC_FDATASYNC,
  RECORD_SYNC_RANGE,
  RECORD_SYNC_MSYNC,
  RECORD_SYNC_ALL /* sync, syncfs */
};

struct penstock_record_head {
  uint32_t magic;
  uint16_t kind;
  uint16_t reserved;
  int32_t detail;
  uint32_t pid;
  uint64_t inode;
  uint64_t offset;
  uint64_t length;
  uint64_t op;
  int64_t result;
  uint32_t path_len;
  uint32_t data_len;
};

#endif /* PENSTOCK_TESTS_FAULTS_RECORDER_LOG_FORMAT_H */
