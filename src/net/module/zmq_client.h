// The control client on ZeroMQ: a DEALER per server, kept for later questions and for
// announcements.
//
// A socket holds one connection to one address of its server. What was asked on a connection that
// breaks is asked again on the next one (see zmq_frame.h). When no connection comes about, the
// host's addresses are tried in turn, and looked up again after the last. One thread at a time. In
// a fork child every call fails and destruction does nothing.
#pragma once

#include <deque>
#include <map>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/clock.h"
#include "net/control.h"
#include "net/module/zmq_handshake.h"
#include "net/module/zmq_socket.h"

namespace imss::net {

class ZmqClient : public ControlClient {
 public:
  explicit ZmqClient(ControlKeys keys);
  ZmqClient(const ZmqClient&) = delete;
  ZmqClient& operator=(const ZmqClient&) = delete;
  ~ZmqClient() override;

  Result<Bytes> ask(const std::string& host, std::uint16_t port,
                    std::span<const std::byte> question, int timeout_ms) override;
  Status listen_to(const std::string& host, std::uint16_t port) override;
  Result<Bytes> next_announcement(int timeout_ms) override;

 private:
  // A server that has been asked or listened to.
  struct Server {
    std::string host;
    std::uint16_t port = 0;
    std::vector<std::string> endpoints;  // of the host, in the order of trying
    std::size_t endpoint_index = 0;
    ZmqSocket socket;
    bool greeted = false;                   // the connection is there
    bool used = false;                      // this socket has had a connection
    bool listening = false;                 // the user wants announcements
    Deadline patience = Deadline::never();  // when to try the next address
    int unanswered = 0;                     // questions in a row, on this socket
  };
  struct Question {
    std::uint64_t id;
    std::span<const std::byte> bytes;
    bool sent = false;
    Finding finding = Finding::kNothing;  // why there is no connection
    Result<Bytes> answer = Code::kTimedOut;
  };

  Status check_usable() const;
  Result<Server*> server_at(const std::string& host, std::uint16_t port);
  Status connect(Server& server);
  static bool has_local_socket(const Server& server);
  Status try_next_address(Server& server);
  void notice_loss(Server& server) const;
  void take_messages(Server& server, Question* question);
  bool take_message(Server& server, Question* question);
  void take_announcement(std::span<const std::byte> announcement);
  void send_question(Server& server, Question& question);
  Status unanswered(Server& server, const Question& question);
  Status sentence_of(const Server& server, const Question& question) const;

  const ControlKeys keys_;
  const int generation_;
  std::map<std::pair<std::string, std::uint16_t>, std::unique_ptr<Server>> servers_;
  std::deque<Bytes> announcements_;  // at most kMaxKeptAnnouncements
  std::uint64_t last_id_ = 0;
};

}  // namespace imss::net
