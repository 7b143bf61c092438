// A device of its own memory for torch, whose memory is the host's: what a GPU is to the code above it, where none is
// at hand. An operation runs on the CPU, on the same bytes, and first asks what a GPU would ask: that all tensors with
// dimensions are on the device, and that random numbers come from no generator of the CPU's.
//
// https://docs.pytorch.org/tutorials/advanced/privateuseone.html
#include <ATen/EmptyTensor.h>
#include <ATen/detail/PrivateUse1HooksInterface.h>
#include <ATen/ops/_reshape_alias_native.h>
#include <ATen/ops/as_strided_native.h>
#include <ATen/ops/unfold_native.h>
#include <ATen/ops/view_as_complex_native.h>
#include <ATen/ops/view_as_real_native.h>
#include <ATen/ops/view_native.h>
#include <c10/core/CPUAllocator.h>
#include <c10/core/impl/DeviceGuardImplInterface.h>
#include <torch/library.h>
#include <torch/torch.h>

#include <cstdlib>
#include <cstring>
#include <set>
#include <string>

namespace {

using at::IntArrayRef;
using at::Tensor;
using c10::Device;
using c10::DeviceIndex;
using c10::DeviceType;
using c10::IValue;

const Device kDevice(DeviceType::PrivateUse1, 0);
// What may have its indices on the CPU on a GPU too, and what copies.
const std::set<std::string> kMixing = {"aten::index", "aten::index_put_", "aten::_index_put_impl_", "aten::copy_"};
// What reads a value, for which a GPU has to be waited for.
const std::set<std::string> kWaiting = {"aten::_local_scalar_dense", "aten::equal", "aten::is_nonzero"};

int64_t waits = 0;
int64_t copies = 0;

struct Guard final : c10::impl::DeviceGuardImplInterface {
  DeviceType type() const override { return DeviceType::PrivateUse1; }
  Device exchangeDevice(Device) const override { return kDevice; }
  Device getDevice() const override { return kDevice; }
  void setDevice(Device) const override {}
  void uncheckedSetDevice(Device) const noexcept override {}
  c10::Stream getStream(Device device) const override { return c10::Stream(c10::Stream::DEFAULT, device); }
  c10::Stream getNewStream(Device device, int) const override { return getStream(device); }
  c10::Stream exchangeStream(c10::Stream stream) const override { return stream; }
  DeviceIndex deviceCount() const noexcept override { return 1; }
  void synchronizeDevice(DeviceIndex) const override {}
};
C10_REGISTER_GUARD_IMPL(PrivateUse1, Guard);

struct Hooks final : at::PrivateUse1HooksInterface {
  bool isBuilt() const override { return true; }
  bool isAvailable() const override { return true; }
  bool hasPrimaryContext(DeviceIndex) const override { return true; }
  DeviceIndex deviceCount() const override { return 1; }
  DeviceIndex getCurrentDevice() const override { return 0; }
  void setCurrentDevice(DeviceIndex) const override {}
  DeviceIndex exchangeDevice(DeviceIndex) const override { return 0; }
  DeviceIndex maybeExchangeDevice(DeviceIndex) const override { return 0; }
};
Hooks hooks;

struct Memory final : c10::Allocator {
  c10::DataPtr allocate(size_t size) override {
    void* data = std::malloc(size == 0 ? 1 : size);
    // Memory that was not written to is to be seen in the results.
    std::memset(data, 0x7f, size);
    return {data, data, &std::free, kDevice};
  }
  c10::DeleterFnPtr raw_deleter() const override { return &std::free; }
  void copy_data(void* to, const void* from, size_t size) const override { std::memcpy(to, from, size); }
};
Memory memory;
REGISTER_ALLOCATOR(DeviceType::PrivateUse1, &memory);

bool is_here(const Tensor& tensor) { return tensor.defined() && tensor.device() == kDevice; }

void let_go(void* storage) { delete static_cast<c10::Storage*>(storage); }

c10::Storage same_bytes(const Tensor& tensor, Device device, c10::Allocator* allocator) {
  const c10::Storage& storage = tensor.storage();
  c10::DataPtr data(const_cast<void*>(storage.data()), new c10::Storage(storage), &let_go, device);
  return {c10::Storage::use_byte_size_t(), storage.nbytes(), std::move(data), allocator, true};
}

Tensor on(const Tensor& tensor, Device device) {
  if (!tensor.defined() || tensor.device() == device) return tensor;
  const bool on_host = device.is_cpu();
  auto storage = same_bytes(tensor, device, on_host ? c10::GetCPUAllocator() : &memory);
  const auto key = on_host ? c10::DispatchKey::CPU : c10::DispatchKey::PrivateUse1;
  auto found = at::detail::make_tensor<c10::TensorImpl>(std::move(storage), c10::DispatchKeySet(key), tensor.dtype());
  found.unsafeGetTensorImpl()->set_sizes_and_strides(tensor.sizes(), tensor.strides(), tensor.storage_offset());
  if (tensor.is_conj()) found._set_conj(true);
  if (tensor.is_neg()) found._set_neg(true);
  return found;
}

Tensor host(const Tensor& tensor) { return is_here(tensor) ? on(tensor, c10::kCPU) : tensor; }
Tensor here(const Tensor& tensor) { return on(tensor, kDevice); }

void check_device(const Tensor& tensor, const std::string& name) {
  TORCH_CHECK(!tensor.defined() || is_here(tensor) || tensor.dim() == 0 || kMixing.count(name), name,
              " on the device was given a tensor of ", tensor.sizes(), " on ", tensor.device());
}

// An argument as the CPU's operation takes it.
IValue as_on_host(const IValue& value, const c10::Argument& argument, const std::string& name) {
  if (value.isTensor()) {
    check_device(value.toTensor(), name);
    return host(value.toTensor());
  }
  if (value.isTensorList()) {
    std::vector<Tensor> tensors;
    for (const Tensor& tensor : value.toTensorVector()) {
      check_device(tensor, name);
      tensors.push_back(host(tensor));
    }
    return tensors;
  }
  if (value.isOptionalTensorList()) {
    c10::List<std::optional<Tensor>> tensors;
    for (const auto& tensor : value.toOptionalTensorVector()) {
      if (tensor) check_device(*tensor, name);
      tensors.push_back(tensor ? std::optional<Tensor>(host(*tensor)) : tensor);
    }
    return tensors;
  }
  if (value.isDevice() && value.toDevice() == kDevice) return Device(c10::kCPU);
  const bool is_generator = argument.type()->str().find("Generator") != std::string::npos && !value.isNone();
  TORCH_CHECK(!is_generator || !value.toGenerator().device().is_cpu(), name, " on the device was given a generator of the CPU's");
  return value;
}

// The tensor that was written to has what the CPU's operation made of it, which may be larger.
void take_over(const Tensor& written, const Tensor& result) {
  if (!is_here(written) || (result.sizes() == written.sizes() && result.data_ptr() == written.data_ptr())) return;
  written.unsafeGetTensorImpl()->set_storage_and_dtype(here(result).storage(), written.dtype());
  written.unsafeGetTensorImpl()->set_sizes_and_strides(result.sizes(), result.strides(), result.storage_offset());
}

void run_on_host(const c10::OperatorHandle& operation, torch::jit::Stack* stack) {
  const auto& schema = operation.schema();
  const auto& name = schema.operator_name().name;
  const auto& arguments = schema.arguments();
  const std::vector<IValue> given(stack->end() - arguments.size(), stack->end());
  stack->resize(stack->size() - arguments.size());
  std::vector<IValue> used;
  for (size_t index = 0; index < arguments.size(); index++) used.push_back(as_on_host(given[index], arguments[index], name));
  waits += kWaiting.count(name);
  stack->insert(stack->end(), used.begin(), used.end());
  operation.redispatchBoxed(c10::DispatchKeySet(c10::DispatchKey::CPU), stack);
  const auto& returns = schema.returns();
  for (size_t place = 0; place < returns.size(); place++) {
    IValue& result = (*stack)[stack->size() - returns.size() + place];
    const auto* alias = returns[place].alias_info();
    if (alias == nullptr || !alias->isWrite()) {
      if (result.isTensor()) result = here(result.toTensor());
      if (result.isTensorList()) {
        std::vector<Tensor> tensors;
        for (const Tensor& tensor : result.toTensorVector()) tensors.push_back(here(tensor));
        result = tensors;
      }
      continue;
    }
    for (size_t index = 0; index < arguments.size(); index++) {
      const auto* own = arguments[index].alias_info();
      if (own == nullptr || !(*own == *alias)) continue;
      if (given[index].isTensor()) take_over(given[index].toTensor(), used[index].toTensor());
      result = given[index];
      break;
    }
  }
}

Tensor empty(IntArrayRef size, std::optional<c10::ScalarType> dtype, std::optional<c10::Layout>, std::optional<Device>,
             std::optional<bool>, std::optional<c10::MemoryFormat> format) {
  const c10::DispatchKeySet keys(c10::DispatchKey::PrivateUse1);
  return at::detail::empty_generic(size, &memory, keys, c10::dtype_or_default(dtype), format);
}

Tensor empty_with_strides(IntArrayRef size, IntArrayRef stride, std::optional<c10::ScalarType> dtype,
                          std::optional<c10::Layout>, std::optional<Device>, std::optional<bool>) {
  const c10::DispatchKeySet keys(c10::DispatchKey::PrivateUse1);
  return at::detail::empty_strided_generic(size, stride, &memory, keys, c10::dtype_or_default(dtype));
}

Tensor copied(const Tensor& from, const Tensor& to, bool) {
  copies += is_here(from) != is_here(to);
  host(to).copy_(host(from));
  return to;
}

Tensor& with_storage(Tensor& tensor, c10::Storage storage, int64_t offset, IntArrayRef size, IntArrayRef stride) {
  tensor.unsafeGetTensorImpl()->set_storage_keep_dtype(std::move(storage));
  tensor.unsafeGetTensorImpl()->set_sizes_and_strides(size, stride, offset);
  return tensor;
}

const Tensor& resized(const Tensor& tensor, IntArrayRef size, std::optional<c10::MemoryFormat> format) {
  take_over(tensor, empty(size, tensor.scalar_type(), {}, {}, {}, format));
  return tensor;
}

Tensor convolved(const Tensor& input, const Tensor& weight, const std::optional<Tensor>& bias, c10::SymIntArrayRef stride,
                 c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation, bool transposed, c10::SymIntArrayRef extra,
                 c10::SymInt groups) {
  const std::string name = "aten::convolution";
  for (const Tensor& tensor : {input, weight, bias.value_or(Tensor())}) check_device(tensor, name);
  const auto own = bias && bias->defined() ? std::optional<Tensor>(host(*bias)) : std::nullopt;
  return here(at::convolution_symint(host(input), host(weight), own, stride, padding, dilation, transposed, extra, groups));
}

std::tuple<Tensor, Tensor, Tensor> convolved_backward(
    const Tensor& output, const Tensor& input, const Tensor& weight, c10::SymIntArrayRef stride,
    c10::SymIntArrayRef padding, c10::SymIntArrayRef dilation, bool transposed, c10::SymIntArrayRef extra,
    c10::SymInt groups, std::array<bool, 3> wanted) {
  const std::vector<c10::SymInt> bias{weight.sym_size(transposed ? 1 : 0)};
  const auto [of_input, of_weight, of_bias] = at::convolution_backward_symint(
      host(output), host(input), host(weight), c10::OptionalArrayRef<c10::SymInt>(bias), stride, padding, dilation,
      transposed, extra, groups, wanted);
  return {here(of_input), here(of_weight), here(of_bias)};
}

// The plain formula: fused attention is a GPU's own.
int64_t attention_by_formula(const Tensor&, const Tensor&, const Tensor&, const std::optional<Tensor>&, double, bool,
                             std::optional<double>, bool) {
  return 0;
}

}  // namespace

TORCH_LIBRARY_IMPL(_, PrivateUse1, library) {
  library.fallback(torch::CppFunction::makeFromBoxedFunction<&run_on_host>());
}

TORCH_LIBRARY_IMPL(aten, PrivateUse1, library) {
  library.impl("empty.memory_format", TORCH_FN(empty));
  library.impl("empty_strided", TORCH_FN(empty_with_strides));
  library.impl("_copy_from", TORCH_FN(copied));
  library.impl("as_strided", TORCH_FN(at::native::as_strided_tensorimpl));
  library.impl("view", TORCH_FN(at::native::view));
  library.impl("_reshape_alias", TORCH_FN(at::native::_reshape_alias));
  library.impl("unfold", TORCH_FN(at::native::unfold));
  library.impl("view_as_real", TORCH_FN(at::native::view_as_real));
  library.impl("view_as_complex", TORCH_FN(at::native::view_as_complex));
  library.impl("set_.source_Storage_storage_offset", TORCH_FN(with_storage));
  library.impl("resize_", TORCH_FN(resized));
  library.impl("convolution_overrideable", TORCH_FN(convolved));
  library.impl("convolution_backward_overrideable", TORCH_FN(convolved_backward));
  library.impl("_fused_sdp_choice", TORCH_FN(attention_by_formula));
}

TORCH_LIBRARY(own_memory, library) {
  at::RegisterPrivateUse1HooksInterface(&hooks);
  library.def("waits_and_copies() -> int[]", [] { return std::vector<int64_t>{waits, copies}; });
}
