#include <zmq.h>

#include <array>

#include "net/module/zmq_control.h"

namespace imss::net {

Result<ControlKeys> make_zmq_keys() {
  constexpr std::size_t kKeyChars = 40;
  std::array<char, kKeyChars + 1> public_key{};
  std::array<char, kKeyChars + 1> secret_key{};
  if (zmq_curve_keypair(public_key.data(), secret_key.data()) != 0) {
    return Status(Code::kNotSupported,
                  "this ZeroMQ was built without encryption: it makes no keys");
  }
  return ControlKeys{public_key.data(), secret_key.data()};
}

}  // namespace imss::net
