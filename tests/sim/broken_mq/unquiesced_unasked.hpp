// SPDX-License-Identifier: BSL-1.0
//
// When the controller has failed, the driver unquiesces a disk that it has not quiesced: it
// undoes the quiesce of another party.

#ifndef BLKOWN_TESTS_SIM_BROKEN_MQ_UNQUIESCED_UNASKED_HPP
#define BLKOWN_TESTS_SIM_BROKEN_MQ_UNQUIESCED_UNASKED_HPP

#include "sim/broken_mq/variant_driver.hpp"

namespace broken_mq {

class UnquiescedUnasked : public VariantDriver {
 public:
  using VariantDriver::VariantDriver;

  Status init_hctx(Hw& hw, NamespaceInfo& info) override {
    disk_ = &hw.disk();
    return VariantDriver::init_hctx(hw, info);
  }
  void failed() override {
    if (!unasked_.is_running()) disk_->unquiesce(unasked_);
    reset();
  }

 private:
  mq::Disk<VariantDriver>* disk_ = nullptr;
  mq::Control unasked_{{[](void*, mq::Control&) {}, nullptr}};
};

}  // namespace broken_mq

#endif
