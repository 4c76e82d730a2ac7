// SPDX-License-Identifier: BSL-1.0
//
// Goal: a PCI device is opened in the order that VFIO asks for, every failed step is named, and no
// file stays open.

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <unistd.h>

#include <array>
#include <blkown/dma/vfio_pci.hpp>
#include <cstdlib>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "dma/fake_vfio.hpp"

namespace {

namespace dma = blkown::dma;
using dma::VfioError;
using dma::VfioStep;

/// One PCI device in group 17, as the kernel shows it. Each file's number is at most used once.
struct PciKernel {
  /// As in a process without stdin, stdout and stderr.
  enum File : int { container = 0, group = 1, device = 2 };

  std::set<int> open_files;
  std::vector<std::string> calls;
  std::string failing_call;  ///< The name of the call that fails.
  int error = EIO;           ///< The errno value of that failure.
  std::string link = "../../../../kernel/iommu_groups/17";
  bool is_viable = true;
  bool has_container = false;
  bool has_iommu = false;
  std::uint32_t device_flags = VFIO_DEVICE_FLAGS_PCI | VFIO_DEVICE_FLAGS_RESET;
  std::uint16_t command = 0x0400;
  alignas(8) std::array<std::byte, 4096> bar{};      // BAR 0
  alignas(8) std::array<std::byte, 64> small_bar{};  // BAR 4
  int mapped_bars = 0;
  std::int64_t config_bytes = 2;  ///< The result of an access to the configuration space.
  std::vector<int> vectors;
  int resets = 0;

  static constexpr std::uint64_t bar_at = 0;
  static constexpr std::uint64_t small_bar_at = std::uint64_t{4} << 40;
  static constexpr std::uint64_t config_at = std::uint64_t{7} << 40;

  [[nodiscard]] bool fails(const std::string& call) {
    calls.push_back(call);
    return call == failing_call;
  }
};

/// The system calls of the device.
struct PciSystem {
  PciKernel* kernel;

  int open(const char* path) const {
    const std::string name = path;
    if (kernel->fails("open " + name)) return -kernel->error;
    const int file = name == "/dev/vfio/vfio" ? PciKernel::container
                     : name == "/dev/vfio/17" ? PciKernel::group
                                              : -1;
    if (file < 0) return -ENOENT;
    EXPECT_TRUE(kernel->open_files.insert(file).second);
    return file;
  }
  void close(int file) const { EXPECT_EQ(kernel->open_files.erase(file), 1U) << file; }
  std::int64_t read_link(const char* path, std::span<char> target) const {
    if (kernel->fails(std::string{"readlink "} + path)) return -kernel->error;
    const std::size_t bytes = std::min(target.size(), kernel->link.size());
    std::memcpy(target.data(), kernel->link.data(), bytes);
    return static_cast<std::int64_t>(bytes);
  }
  std::int64_t read_at(int, std::span<std::byte> bytes, std::uint64_t offset) const {
    if (kernel->fails("pread")) return -kernel->error;
    EXPECT_EQ(offset, PciKernel::config_at + 4);
    std::memcpy(bytes.data(), &kernel->command, 2);
    return kernel->config_bytes;
  }
  std::int64_t write_at(int, std::span<const std::byte> bytes, std::uint64_t offset) const {
    if (kernel->fails("pwrite")) return -kernel->error;
    EXPECT_EQ(offset, PciKernel::config_at + 4);
    std::memcpy(&kernel->command, bytes.data(), 2);
    return kernel->config_bytes;
  }
  std::byte* map_file(int, std::uint64_t offset, std::size_t bytes) const {
    errno = kernel->error;
    if (kernel->fails("mmap")) return nullptr;
    const bool is_small = offset == PciKernel::small_bar_at;
    EXPECT_TRUE(is_small || offset == PciKernel::bar_at);
    EXPECT_EQ(bytes, is_small ? kernel->small_bar.size() : kernel->bar.size());
    ++kernel->mapped_bars;
    return is_small ? kernel->small_bar.data() : kernel->bar.data();
  }
  void unmap_file(std::byte* memory, std::size_t bytes) const {
    const bool is_small = memory == kernel->small_bar.data();
    EXPECT_TRUE(is_small || memory == kernel->bar.data());
    EXPECT_EQ(bytes, is_small ? kernel->small_bar.size() : kernel->bar.size());
    --kernel->mapped_bars;
  }
  int ioctl(int file, unsigned long request, void* argument) const {
    switch (request) {
      case VFIO_GET_API_VERSION: return kernel->fails("version") ? 1 : VFIO_API_VERSION;
      case VFIO_GROUP_GET_STATUS: return status(file, argument);
      case VFIO_GROUP_SET_CONTAINER:
        if (kernel->fails("set container")) return -kernel->error;
        EXPECT_EQ(file, PciKernel::group);
        EXPECT_EQ(*static_cast<int*>(argument), PciKernel::container);
        kernel->has_container = true;
        return 0;
      case VFIO_SET_IOMMU:
        if (kernel->fails("set iommu")) return -kernel->error;
        EXPECT_EQ(file, PciKernel::container);
        EXPECT_EQ(reinterpret_cast<std::uintptr_t>(argument), VFIO_TYPE1v2_IOMMU);
        kernel->has_iommu = kernel->has_container;
        return kernel->has_container ? 0 : -ENODEV;
      case VFIO_GROUP_GET_DEVICE_FD:
        if (kernel->fails("get device")) return -kernel->error;
        EXPECT_STREQ(static_cast<char*>(argument), "0000:00:04.0");
        if (!kernel->has_iommu) return -EINVAL;
        EXPECT_TRUE(kernel->open_files.insert(PciKernel::device).second);
        return PciKernel::device;
      default: return of_device(file, request, argument);
    }
  }

 private:
  int status(int file, void* argument) const {
    if (kernel->fails("status")) return -kernel->error;
    EXPECT_EQ(file, PciKernel::group);
    auto& status = *static_cast<vfio_group_status*>(argument);
    EXPECT_EQ(status.argsz, sizeof status);
    status.flags = kernel->is_viable ? VFIO_GROUP_FLAGS_VIABLE : 0;
    return 0;
  }
  int of_device(int file, unsigned long request, void* argument) const {
    EXPECT_EQ(file, PciKernel::device);
    switch (request) {
      case VFIO_DEVICE_GET_INFO:
        if (kernel->fails("device info")) return -kernel->error;
        EXPECT_EQ(static_cast<vfio_device_info*>(argument)->argsz, sizeof(vfio_device_info));
        static_cast<vfio_device_info*>(argument)->flags = kernel->device_flags;
        return 0;
      case VFIO_DEVICE_GET_REGION_INFO: return region(*static_cast<vfio_region_info*>(argument));
      case VFIO_DEVICE_GET_IRQ_INFO: {
        auto& info = *static_cast<vfio_irq_info*>(argument);
        EXPECT_EQ(info.argsz, sizeof info);
        EXPECT_EQ(info.index, std::uint32_t{VFIO_PCI_MSIX_IRQ_INDEX});
        info.count = 65;
        return kernel->fails("irq info") ? -kernel->error : 0;
      }
      case VFIO_DEVICE_SET_IRQS: return set_vectors(static_cast<std::byte*>(argument));
      case VFIO_DEVICE_RESET:
        if (kernel->fails("reset")) return -kernel->error;
        EXPECT_EQ(argument, nullptr);
        ++kernel->resets;
        return 0;
      default: return -ENOTTY;
    }
  }
  int region(vfio_region_info& info) const {
    if (kernel->fails("region info")) return -kernel->error;
    EXPECT_EQ(info.argsz, sizeof info);
    if (info.index == VFIO_PCI_BAR0_REGION_INDEX) {
      info.size = kernel->bar.size();
      info.flags = VFIO_REGION_INFO_FLAG_MMAP;
      info.offset = PciKernel::bar_at;
    } else if (info.index == VFIO_PCI_BAR2_REGION_INDEX) {
      info.flags = VFIO_REGION_INFO_FLAG_MMAP;
    } else if (info.index == VFIO_PCI_BAR4_REGION_INDEX) {
      info.size = kernel->small_bar.size();
      info.flags = VFIO_REGION_INFO_FLAG_MMAP;
      info.offset = PciKernel::small_bar_at;
    } else if (info.index == VFIO_PCI_CONFIG_REGION_INDEX) {
      info.size = 4096;
      info.offset = PciKernel::config_at;
    }
    return 0;
  }
  int set_vectors(const std::byte* argument) const {
    if (kernel->fails("set irqs")) return -kernel->error;
    std::array<std::uint32_t, 5> head{};  // argsz, flags, index, start, count
    std::memcpy(head.data(), argument, sizeof head);
    const bool is_off = head[4] == 0;
    const auto flags =
        static_cast<std::uint32_t>(VFIO_IRQ_SET_ACTION_TRIGGER |
                                   (is_off ? VFIO_IRQ_SET_DATA_NONE : VFIO_IRQ_SET_DATA_EVENTFD));
    EXPECT_EQ(head[0], sizeof head + head[4] * sizeof(int));
    EXPECT_EQ(head[1], flags);
    EXPECT_EQ(head[2], std::uint32_t{VFIO_PCI_MSIX_IRQ_INDEX});
    EXPECT_EQ(head[3], 0U);
    // As vfio_pci_set_msi_trigger: MSI-X that is on keeps its number of vectors, and the vectors
    // behind the list keep their eventfds.
    if (is_off) {
      const bool was_on = !kernel->vectors.empty();
      kernel->vectors.clear();
      return was_on ? 0 : -EINVAL;
    }
    if (kernel->vectors.empty()) kernel->vectors.resize(head[4]);
    if (head[4] > kernel->vectors.size()) return -EINVAL;
    std::memcpy(kernel->vectors.data(), argument + sizeof head, head[4] * sizeof(int));
    return 0;
  }
};

using PciDevice = dma::BasicVfioPciDevice<PciSystem>;

class VfioPci : public testing::Test {
 protected:
  std::expected<PciDevice, VfioError> open() { return PciDevice::open("0000:00:04.0", {&kernel}); }
  void TearDown() override {
    EXPECT_TRUE(kernel.open_files.empty()) << "a file is still open";
    EXPECT_EQ(kernel.mapped_bars, 0);
  }
  PciKernel kernel;
};

TEST_F(VfioPci, IsOpenedStepByStep) {
  {
    const auto device = open();
    ASSERT_TRUE(device.has_value());
    EXPECT_EQ(device->container(), PciKernel::container);
    EXPECT_EQ(device->file(), PciKernel::device);
    EXPECT_EQ(kernel.open_files.size(), 3U);
  }
  EXPECT_EQ(kernel.calls,
            (std::vector<std::string>{"open /dev/vfio/vfio", "version",
                                      "readlink /sys/bus/pci/devices/0000:00:04.0/iommu_group",
                                      "open /dev/vfio/17", "status", "set container", "set iommu",
                                      "get device", "device info"}));
}

// Goal: each step that fails is named, with the kernel's error, and what was open is closed.
TEST_F(VfioPci, AFailedStepIsNamed) {
  const std::pair<const char*, VfioStep> steps[] = {
      {"open /dev/vfio/vfio", VfioStep::open_container},
      {"readlink /sys/bus/pci/devices/0000:00:04.0/iommu_group", VfioStep::find_group},
      {"open /dev/vfio/17", VfioStep::open_group},
      {"status", VfioStep::check_group},
      {"set container", VfioStep::set_container},
      {"set iommu", VfioStep::set_iommu},
      {"get device", VfioStep::open_device},
      {"device info", VfioStep::device_info}};
  for (const auto& [call, step] : steps) {
    kernel.failing_call = call;
    const auto device = open();
    ASSERT_FALSE(device.has_value()) << call;
    EXPECT_EQ(device.error(), (VfioError{step, EIO})) << call;
    EXPECT_TRUE(kernel.open_files.empty()) << call;
  }
}

TEST_F(VfioPci, AnAnswerThatDoesNotFitIsAFailure) {
  kernel.failing_call = "version";
  EXPECT_EQ(open().error(), (VfioError{VfioStep::check_version, 0}));
  kernel.failing_call = {};
  kernel.is_viable = false;
  EXPECT_EQ(open().error(), (VfioError{VfioStep::check_group, EBUSY}));
  kernel.is_viable = true;
  kernel.device_flags = VFIO_DEVICE_FLAGS_PLATFORM;
  EXPECT_EQ(open().error(), (VfioError{VfioStep::device_info, ENODEV}));
  for (const char* link : {"", "iommu_groups/", "iommu_groups/1x", "iommu_groups/1:",
                           "iommu_groups/-1", "no-iommu", "iommu_groups/1234567890123456"}) {
    kernel.link = link;
    EXPECT_EQ(open().error(), (VfioError{VfioStep::find_group, EINVAL})) << link;
  }
  for (const char* number : {"0", "9", "123456789012345"}) {
    kernel.link = std::string{"iommu_groups/"} + number;
    EXPECT_EQ(open().error(), (VfioError{VfioStep::open_group, ENOENT}));
    EXPECT_EQ(kernel.calls.back(), std::string{"open /dev/vfio/"} + number);
  }
}

TEST_F(VfioPci, AnAddressThatIsTooLongIsAFailure) {
  kernel.failing_call = "open /dev/vfio/17";
  const std::size_t longest = 127 - std::string{"/sys/bus/pci/devices//iommu_group"}.size();
  const std::string fits(longest, '0');
  EXPECT_EQ(PciDevice::open(fits.c_str(), {&kernel}).error(),
            (VfioError{VfioStep::open_group, EIO}));
  for (const std::size_t length : {longest + 1, std::size_t{200}}) {
    const std::string too_long(length, '0');
    EXPECT_EQ(PciDevice::open(too_long.c_str(), {&kernel}).error(),
              (VfioError{VfioStep::find_group, ENAMETOOLONG}));
  }
}

TEST_F(VfioPci, TellsWhereARegionIs) {
  auto device = open();
  const auto bar = device->region(VFIO_PCI_BAR4_REGION_INDEX);
  ASSERT_TRUE(bar.has_value());
  EXPECT_EQ(bar->file_offset, PciKernel::small_bar_at);
  EXPECT_EQ(bar->bytes, 64U);
  EXPECT_TRUE(bar->is_mappable);
  const auto config = device->region(VFIO_PCI_CONFIG_REGION_INDEX);
  EXPECT_EQ(config->bytes, 4096U);
  EXPECT_FALSE(config->is_mappable);
  kernel.failing_call = "region info";
  EXPECT_EQ(device->region(0).error(), (VfioError{VfioStep::region_info, EIO}));
}

TEST_F(VfioPci, RegistersAreReadAndWritten) {
  auto device = open();
  ASSERT_TRUE(device.has_value());
  {
    auto made = device->map_region(VFIO_PCI_BAR0_REGION_INDEX);
    ASSERT_TRUE(made.has_value());
    auto registers = *std::move(made);
    EXPECT_EQ(registers.bytes(), 4096U);
    registers.write32(0x14, 0x12345678);
    registers.write64(0x28, 0x1122334455667788);
    EXPECT_EQ(registers.read32(0x14), 0x12345678U);
    EXPECT_EQ(registers.read64(0x28), 0x1122334455667788U);
    EXPECT_EQ(kernel.bar[0x14], std::byte{0x78});
    EXPECT_EQ(kernel.bar[0x2F], std::byte{0x11});
  }
  EXPECT_EQ(device->map_region(VFIO_PCI_CONFIG_REGION_INDEX).error(),
            (VfioError{VfioStep::region_info, 0}))
      << "cannot be mapped";
  for (const std::uint32_t empty : {VFIO_PCI_BAR1_REGION_INDEX, VFIO_PCI_BAR2_REGION_INDEX}) {
    EXPECT_EQ(device->map_region(empty).error(), (VfioError{VfioStep::region_info, 0}));
  }
  kernel.failing_call = "region info";
  EXPECT_EQ(device->map_region(0).error(), (VfioError{VfioStep::region_info, EIO}));
  kernel.failing_call = "mmap";
  EXPECT_EQ(device->map_region(0).error(), (VfioError{VfioStep::map_region, EIO}));
}

TEST_F(VfioPci, BusMasteringIsSwitched) {
  auto device = open();
  EXPECT_TRUE(device->set_bus_master(true).has_value());
  EXPECT_EQ(kernel.command, 0x0406) << "the other bits are kept";
  EXPECT_TRUE(device->set_bus_master(false).has_value());
  EXPECT_EQ(kernel.command, 0x0402) << "the registers still answer";
  for (const char* call : {"pread", "pwrite"}) {
    kernel.failing_call = call;
    EXPECT_EQ(device->set_bus_master(true).error(), (VfioError{VfioStep::config_space, EIO}));
  }
  kernel.failing_call = "region info";
  EXPECT_EQ(device->set_bus_master(true).error(), (VfioError{VfioStep::region_info, EIO}));
  kernel.failing_call = {};
  for (const std::int64_t bytes : {0, 1}) {
    kernel.config_bytes = bytes;
    kernel.calls.clear();
    EXPECT_EQ(device->set_bus_master(true).error(), (VfioError{VfioStep::config_space, 0}));
    EXPECT_EQ(kernel.calls.back(), "pread") << "nothing is written that was not read";
  }
}

TEST_F(VfioPci, VectorsSignalEventfds) {
  auto device = open();
  EXPECT_EQ(device->msix_count(), 65U);
  const std::vector<int> eventfds{21, 22, 23};
  EXPECT_TRUE(device->set_msix(eventfds).has_value());
  EXPECT_EQ(kernel.vectors, eventfds);
  EXPECT_TRUE(device->set_msix({}).has_value());
  EXPECT_TRUE(kernel.vectors.empty());
  const std::vector<int> most(PciDevice::max_vectors, 5);
  EXPECT_TRUE(device->set_msix(most).has_value());
  const std::vector<int> more(PciDevice::max_vectors + 1, 5);
  EXPECT_EQ(device->set_msix(more).error(), (VfioError{VfioStep::set_interrupts, E2BIG}));
  kernel.failing_call = "set irqs";
  EXPECT_EQ(device->set_msix(eventfds).error(), (VfioError{VfioStep::set_interrupts, EIO}));
  EXPECT_EQ(device->set_msix({}).error(), (VfioError{VfioStep::set_interrupts, EIO}));
  kernel.failing_call = "irq info";
  EXPECT_EQ(device->msix_count().error(), (VfioError{VfioStep::set_interrupts, EIO}));
}

// Goal: a driver that has changed its number of queues sets all its vectors again.
TEST_F(VfioPci, ALaterListOfEventfdsReplacesTheWholeFirst) {
  auto device = open();
  EXPECT_TRUE(device->set_msix({}).has_value()) << "MSI-X is off already";
  for (const std::vector<int>& eventfds :
       {std::vector<int>{21, 22, 23}, std::vector<int>{31}, std::vector<int>{41, 42}}) {
    EXPECT_TRUE(device->set_msix(eventfds).has_value());
    EXPECT_EQ(kernel.vectors, eventfds);
  }
}

TEST_F(VfioPci, AResetSaysWhetherItIsDone) {
  auto device = open();
  EXPECT_TRUE(device->reset().has_value());
  EXPECT_EQ(kernel.resets, 1);
  kernel.failing_call = "reset";
  EXPECT_EQ(device->reset().error(), (VfioError{VfioStep::reset, EIO}));
}

TEST_F(VfioPci, MovesItsFiles) {
  auto first = open();
  std::optional<PciDevice> moved{*std::move(first)};
  EXPECT_EQ(first->container(), -1);
  PciDevice last = *std::move(moved);
  moved.reset();
  EXPECT_EQ(kernel.open_files.size(), 3U);
  EXPECT_EQ(last.file(), PciKernel::device);
  *first = std::move(last);
  EXPECT_EQ(last.file(), -1);
  EXPECT_EQ(first->file(), PciKernel::device);
}

TEST_F(VfioPci, MovesItsRegisters) {
  auto device = open();
  auto first = device->map_region(VFIO_PCI_BAR0_REGION_INDEX);
  auto others = *std::move(first);
  *first = std::move(others);
  EXPECT_EQ(kernel.mapped_bars, 1);
  first->write32(0, 9);
  EXPECT_EQ(kernel.bar[0], std::byte{9});
  auto small = device->map_region(VFIO_PCI_BAR4_REGION_INDEX);
  EXPECT_EQ(small->bytes(), 64U);
  *first = *std::move(small);
  EXPECT_EQ(kernel.mapped_bars, 1) << "the registers before are unmapped";
  EXPECT_EQ(first->bytes(), 64U);
  first->write32(60, 7);
  EXPECT_EQ(kernel.small_bar[60], std::byte{7});
}

// Goal: the calls of the kernel's VFIO are the system's. A file stands for a device's.
TEST(VfioSystem, CallsTheSystem) {
  using System = dma::VfioSystem;
  std::string path = testing::TempDir() + "blkown_vfio_XXXXXX";
  ::close(::mkstemp(path.data()));
  const int file = System::open(path.c_str());
  ASSERT_GE(file, 0);
  EXPECT_NE(::fcntl(file, F_GETFD) & FD_CLOEXEC, 0);
  std::array<std::byte, 2> bytes{std::byte{1}, std::byte{2}};
  EXPECT_EQ(System::write_at(file, bytes, 4094), 2);
  std::byte* const memory = System::map_file(file, 0, 4096);
  ASSERT_NE(memory, nullptr);
  EXPECT_EQ(memory[4095], std::byte{2});
  memory[4094] = std::byte{5};
  EXPECT_EQ(System::read_at(file, bytes, 4094), 2);
  EXPECT_EQ(bytes[0], std::byte{5}) << "shared";
  System::unmap_file(memory, 4096);
  unsigned char residency = 0;
  EXPECT_EQ(::mincore(memory, 4096, &residency), -1) << "unmapped";
  int available = 0;
  EXPECT_EQ(System::ioctl(file, FIONREAD, &available), 0);
  EXPECT_EQ(available, 4096);
  EXPECT_EQ(System::ioctl(file, VFIO_GET_API_VERSION, nullptr), -ENOTTY);
  EXPECT_EQ(System::map_file(file, 1, 4096), nullptr);
  EXPECT_EQ(errno, EINVAL);
  System::close(file);
  EXPECT_EQ(System::read_at(file, bytes, 0), -EBADF);
  EXPECT_EQ(System::write_at(file, bytes, 0), -EBADF);
  const std::string link = path + ".link";
  ASSERT_EQ(::symlink("../17", link.c_str()), 0);
  std::array<char, 16> target{};
  EXPECT_EQ(System::read_link(link.c_str(), target), 5);
  EXPECT_STREQ(target.data(), "../17");
  ::unlink(link.c_str());
  ::unlink(path.c_str());
  EXPECT_EQ(System::open(path.c_str()), -ENOENT);
  EXPECT_EQ(System::read_link(link.c_str(), target), -ENOENT);
}

}  // namespace
