// ThreadSanitizer knows POSIX threads only, and crashes in a thread that C11's thrd_create made;
// librdkafka uses C11's. These definitions win over the C library's and map each call to its POSIX
// twin, which glibc builds from the same objects. Linked in with that sanitizer only.
#include <pthread.h>
#include <threads.h>

#include <cerrno>
#include <cstdint>
#include <memory>

namespace {

struct Start {
  thrd_start_t run;
  void* argument;
};

void* Run(void* raw) {
  const std::unique_ptr<Start> start(static_cast<Start*>(raw));
  return reinterpret_cast<void*>(static_cast<intptr_t>(start->run(start->argument)));
}

pthread_mutex_t* Posix(mtx_t* mutex) { return reinterpret_cast<pthread_mutex_t*>(mutex); }
pthread_cond_t* Posix(cnd_t* condition) { return reinterpret_cast<pthread_cond_t*>(condition); }
int Result(int error) {
  return error == 0 ? thrd_success : (error == ETIMEDOUT ? thrd_timedout : thrd_error);
}

}  // namespace

#define C11_TWIN extern "C" __attribute__((visibility("default")))

C11_TWIN int thrd_create(thrd_t* thread, thrd_start_t run, void* argument) {
  auto start = std::make_unique<Start>(Start{run, argument});
  const int error = pthread_create(thread, nullptr, Run, start.get());
  if (error == 0) [[maybe_unused]]
    Start* const taken_over = start.release();
  return Result(error);
}
C11_TWIN int thrd_join(thrd_t thread, int* result) {
  void* value = nullptr;
  const int error = pthread_join(thread, &value);
  if (result != nullptr) *result = static_cast<int>(reinterpret_cast<intptr_t>(value));
  return Result(error);
}
C11_TWIN int thrd_detach(thrd_t thread) { return Result(pthread_detach(thread)); }

C11_TWIN int mtx_init(mtx_t* mutex, int type) {
  pthread_mutexattr_t attributes;
  pthread_mutexattr_init(&attributes);
  pthread_mutexattr_settype(
      &attributes, (type & mtx_recursive) != 0 ? PTHREAD_MUTEX_RECURSIVE : PTHREAD_MUTEX_NORMAL);
  const int error = pthread_mutex_init(Posix(mutex), &attributes);
  pthread_mutexattr_destroy(&attributes);
  return Result(error);
}
C11_TWIN void mtx_destroy(mtx_t* mutex) { pthread_mutex_destroy(Posix(mutex)); }
C11_TWIN int mtx_lock(mtx_t* mutex) { return Result(pthread_mutex_lock(Posix(mutex))); }
C11_TWIN int mtx_trylock(mtx_t* mutex) {
  return pthread_mutex_trylock(Posix(mutex)) == 0 ? thrd_success : thrd_busy;
}
C11_TWIN int mtx_unlock(mtx_t* mutex) { return Result(pthread_mutex_unlock(Posix(mutex))); }

C11_TWIN int cnd_init(cnd_t* condition) {
  return Result(pthread_cond_init(Posix(condition), nullptr));
}
C11_TWIN void cnd_destroy(cnd_t* condition) { pthread_cond_destroy(Posix(condition)); }
C11_TWIN int cnd_signal(cnd_t* condition) { return Result(pthread_cond_signal(Posix(condition))); }
C11_TWIN int cnd_broadcast(cnd_t* condition) {
  return Result(pthread_cond_broadcast(Posix(condition)));
}
C11_TWIN int cnd_wait(cnd_t* condition, mtx_t* mutex) {
  return Result(pthread_cond_wait(Posix(condition), Posix(mutex)));
}
C11_TWIN int cnd_timedwait(cnd_t* condition, mtx_t* mutex, const timespec* until) {
  return Result(pthread_cond_timedwait(Posix(condition), Posix(mutex), until));
}

// The library itself is not instrumented: its atomic counters order what the sanitizer cannot see.
C11_TWIN const char* __tsan_default_suppressions() { return "race:librdkafka.so\n"; }
