#include "cli/watch.h"

#include <poll.h>
#include <signal.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <atomic>
#include <cerrno>
#include <iostream>
#include <utility>

namespace penstock::cli {
namespace {

using std::chrono::steady_clock;

// The other screen of the terminal, which leaves the first as it is, without the cursor.
constexpr char kEnter[] = "\033[?1049h\033[?25l";
constexpr char kLeave[] = "\033[?25h\033[?1049l";
constexpr char kHome[] = "\033[H";
constexpr char kToLineEnd[] = "\033[K";
constexpr char kToScreenEnd[] = "\033[J";

std::atomic<bool> entered{false};  // the terminal is to be left again

void LeaveTerminal() {
  if (!entered.exchange(false)) return;
  if (::write(STDOUT_FILENO, kLeave, sizeof kLeave - 1) < 0) return;  // it is gone: so be it
}

extern "C" void OnEndSignal(int signal_number) {
  LeaveTerminal();
  if (signal_number == SIGINT) _exit(0);
  ::signal(signal_number, SIG_DFL);
  ::raise(signal_number);
}

extern "C" void OnNewSize(int) {}

void Handle(int signal_number, void (*handler)(int)) {
  struct sigaction action {};
  action.sa_handler = handler;
  ::sigaction(signal_number, &action, nullptr);
}

// The first columns of a line; a character of UTF-8 counts as one.
std::string_view Columns(std::string_view line, size_t columns) {
  size_t seen = 0;
  for (size_t i = 0; i < line.size(); ++i) {
    const bool starts = (static_cast<unsigned char>(line[i]) & 0xc0u) != 0x80u;
    if (starts && ++seen > columns) return line.substr(0, i);
  }
  return line;
}

size_t LinesIn(std::string_view text) {
  return static_cast<size_t>(std::count(text.begin(), text.end(), '\n')) +
         (text.empty() || text.back() == '\n' ? 0 : 1);
}

}  // namespace

std::string Clipped(std::string_view text, size_t rows, size_t columns) {
  const size_t lines = LinesIn(text);
  const size_t shown = lines <= rows ? lines : rows - 1;
  std::string out;
  for (size_t i = 0; i < shown; ++i) {
    const size_t end = std::min(text.find('\n'), text.size());
    if (i > 0) out += '\n';
    out += Columns(text.substr(0, end), columns);
    text.remove_prefix(std::min(end + 1, text.size()));
  }
  if (shown == lines) return out;
  const std::string rest = "... " + std::to_string(lines - shown) + " more lines";
  return out + (shown > 0 ? "\n" : "") + std::string(Columns(rest, columns));
}

Screen::Screen(std::ostream& out, bool draw_over)
    : out_(out), terminal_(draw_over && &out == &std::cout && ::isatty(STDOUT_FILENO) == 1) {
  for (const int end : {SIGINT, SIGTERM, SIGHUP}) Handle(end, OnEndSignal);
  if (!terminal_) return;
  Handle(SIGWINCH, OnNewSize);
  entered = true;
  out_ << kEnter << std::flush;
}

Screen::~Screen() {
  LeaveTerminal();
  for (const int changed : {SIGINT, SIGTERM, SIGHUP, SIGWINCH}) Handle(changed, SIG_DFL);
}

void Screen::Leave() { LeaveTerminal(); }

bool Screen::Show(std::string text) {
  text_ = std::move(text);
  if (terminal_)
    Draw();
  else
    out_ << text_ << std::flush;
  return static_cast<bool>(out_);
}

void Screen::Draw() {
  winsize size{};
  const bool known = ::ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0;
  const std::string clipped = Clipped(text_, known && size.ws_row > 0 ? size.ws_row : 24,
                                      known && size.ws_col > 0 ? size.ws_col : 80);
  // Each line clears its place before it is written: behind its last column it is too late.
  std::string frame = kHome;
  size_t line = 0;
  for (size_t end; (end = clipped.find('\n', line)) != std::string::npos; line = end + 1)
    frame.append(kToLineEnd).append(clipped, line, end + 1 - line);
  frame.append(kToScreenEnd).append(clipped, line);
  out_ << frame << std::flush;
}

void Screen::Wait(std::chrono::nanoseconds time) {
  const auto end = steady_clock::now() + time;
  for (auto now = steady_clock::now(); now < end; now = steady_clock::now()) {
    const auto left = std::chrono::nanoseconds(end - now).count();
    const timespec timeout{static_cast<time_t>(left / 1'000'000'000),
                           static_cast<long>(left % 1'000'000'000)};
    // Only the size of the window interrupts it.
    if (::ppoll(nullptr, 0, &timeout, nullptr) < 0 && errno == EINTR && terminal_) Draw();
  }
}

}  // namespace penstock::cli
