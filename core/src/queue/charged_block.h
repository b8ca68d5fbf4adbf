// Blocks whose memory counts against the budget.
#pragma once

#include <cstdint>
#include <memory>

#include "event/event.h"
#include "queue/budget.h"

namespace penstock::queue {

// The block, which gives bytes back to the share when the last one who holds it lets go: the
// queue may have let go long before.
std::shared_ptr<const event::Block> Charged(std::shared_ptr<const event::Block> block,
                                            std::shared_ptr<MemoryBudget::Share> share,
                                            uint64_t bytes);

}  // namespace penstock::queue
