#include "queue/charged_block.h"

#include <utility>

namespace penstock::queue {
namespace {

struct Holder {
  std::shared_ptr<const event::Block> block;
  std::shared_ptr<MemoryBudget::Share> share;
  uint64_t bytes;
  ~Holder() {
    block.reset();
    share->Return(bytes);
  }
};

}  // namespace

std::shared_ptr<const event::Block> Charged(std::shared_ptr<const event::Block> block,
                                            std::shared_ptr<MemoryBudget::Share> share,
                                            uint64_t bytes) {
  const event::Block* raw = block.get();
  std::shared_ptr<Holder> holder(new Holder{std::move(block), std::move(share), bytes});
  return {std::move(holder), raw};
}

}  // namespace penstock::queue
