// SPDX-License-Identifier: Apache-2.0
#include "io/bulk/socket.h"

#include <gtest/gtest.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>

#include <string>

namespace holdfast::bulk {
namespace {

std::string CongestionControlOf(int fd) {
  char name[16] = {};
  socklen_t length = sizeof(name);
  EXPECT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, &length), 0);
  return name;
}

// Both ends: either may have much to send.
TEST(Socket, NothingIsPacedWithinAHost) {
  for (const char* text : {"tcp://127.0.0.1:0", "tcp://[::1]:0"}) {
    Endpoint endpoint = *ParseEndpoint(text);
    Result<Fd> listener = Listen(&endpoint);
    if (!listener.ok() && endpoint.address.ss_family == AF_INET6) continue;  // a host without IPv6
    ASSERT_TRUE(listener.ok()) << listener.status().ToString();
    Result<Fd> near = Dial(*ParseEndpoint(endpoint.text));
    ASSERT_TRUE(near.ok()) << near.status().ToString();
    pollfd ready{.fd = listener->get(), .events = POLLIN, .revents = 0};
    ASSERT_EQ(poll(&ready, 1, 10'000), 1);
    const Fd far(accept(listener->get(), nullptr, nullptr));
    ASSERT_TRUE(far);
    EXPECT_EQ(CongestionControlOf(far.get()), "reno") << "from its beginning";
    SetUpTcp(far.get());
    for (int fd : {near->get(), far.get()}) {
      EXPECT_EQ(CongestionControlOf(fd), "reno") << text;
      int on = 0;
      socklen_t length = sizeof(on);
      EXPECT_EQ(getsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, &length), 0);
      EXPECT_NE(on, 0);
    }
  }
}

}  // namespace
}  // namespace holdfast::bulk
