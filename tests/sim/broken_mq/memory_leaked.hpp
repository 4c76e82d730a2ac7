// SPDX-License-Identifier: BSL-1.0
//
// The driver allocates memory for the device, and never frees the memory.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_MEMORY_LEAKED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_MEMORY_LEAKED_HPP

#include <vector>

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class MemoryLeaked : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  Status init_hctx(Hw& hw, NamespaceInfo& info) override {
    auto log_page = dma::Coherent<sim::Iommu>::allocate(controller().device(), 4096);
    if (!log_page.has_value()) return Status::resource;
    static auto* const kept = new std::vector<dma::Coherent<sim::Iommu>>;
    kept->push_back(*std::move(log_page));
    return VariantDriver::init_hctx(hw, info);
  }
};

}  // namespace broken_mq

#endif
