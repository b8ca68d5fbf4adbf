// Showing something again and again, as watch(1) does.
#pragma once

#include <chrono>
#include <cstddef>
#include <ostream>
#include <string>
#include <string_view>

namespace penstock::cli {

// What of a text a window shows: so many lines of so many columns, the last one counting the lines
// that have no room. Without a newline at its end. At least one row and column.
std::string Clipped(std::string_view text, size_t rows, size_t columns);

// Standard output: a terminal is drawn over if that is wanted, else one block follows the other.
// From its making to its end Ctrl-C ends the process with exit code 0 and leaves the terminal as it
// was. One at a time.
class Screen {
 public:
  Screen(std::ostream& out, bool draw_over);
  ~Screen();
  Screen(const Screen&) = delete;
  Screen& operator=(const Screen&) = delete;

  bool terminal() const { return terminal_; }
  // False: nobody reads it any more.
  bool Show(std::string text);
  // The terminal as it was before, for an error to be seen there.
  void Leave();
  // Draws again meanwhile if the window's size changes.
  void Wait(std::chrono::nanoseconds time);

 private:
  void Draw();

  std::ostream& out_;
  const bool terminal_;
  std::string text_;
};

}  // namespace penstock::cli
