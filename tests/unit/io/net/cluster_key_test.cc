// SPDX-License-Identifier: Apache-2.0
#include "io/net/cluster_key.h"

#include <gtest/gtest.h>

#include <algorithm>

#include "io/net/endpoint.h"

namespace holdfast::net {
namespace {

const std::string kHex = "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

std::string Hex(ByteView bytes) {
  std::string out;
  for (std::byte b : bytes) {
    char text[3];
    std::snprintf(text, sizeof(text), "%02x", static_cast<unsigned>(b));
    out += text;
  }
  return out;
}

TEST(ClusterKey, HexAndZ85NameTheSameKey) {
  auto hex = ParseClusterKey(" " + kHex + "\n");
  ASSERT_TRUE(hex.ok());
  EXPECT_EQ(Hex(*hex), kHex);
  std::string upper = kHex;
  std::transform(upper.begin(), upper.end(), upper.begin(), ::toupper);
  EXPECT_EQ(*ParseClusterKey(upper), *hex);
  auto z85 = ParseClusterKey("009c61o!#m2NH?C3>iWS5d]J*6CRx17-skh9337x");  // of 00 01 02 ... 1f
  ASSERT_TRUE(z85.ok());
  EXPECT_EQ(*z85, *hex);
}

TEST(ClusterKey, OtherTextsAreRefusedAndNotShown) {
  for (std::string text : {std::string(), std::string("secret"), kHex.substr(1), kHex + "0",
                           "g" + kHex.substr(1), std::string(40, '~')}) {
    Status status = ParseClusterKey(text).status();
    EXPECT_EQ(status.code(), Code::kInvalid) << text;
    EXPECT_NE(status.message().find("openssl rand -hex 32"), std::string::npos);
    EXPECT_TRUE(text.empty() || status.message().find(text) == std::string::npos);
  }
}

// Computed with `printf LABEL | openssl dgst -sha256 -mac HMAC -macopt hexkey:KEY`: a change locks
// old peers out.
TEST(ClusterKey, DerivedSecretsAreTheDocumentedOnes) {
  ClusterKey key = *ParseClusterKey(kHex);
  EXPECT_EQ(Hex(BulkToken(key)),
            "dea50bf4bbb936ad0919ebb8193b6589f66c22d7b6b3b7e6b8d7d640f7005233");
  auto server = ServerKeys(key), client = ClientKeys(key);
  ASSERT_TRUE(server.ok());
  ASSERT_TRUE(client.ok());
  EXPECT_EQ(Hex(server->secret),
            "b058ff5945c75641cd3a8c571a69e0ed5b531f14234bcf0e6d424e995dc91dee");
  EXPECT_EQ(Hex(client->secret),
            "84eb3db762099f3406361ccb813f5d35b54ece21ebd9898ae9e123f66e459e27");
  EXPECT_NE(server->public_key, client->public_key);
}

TEST(ControlEndpoint, HostsAndPorts) {
  auto v4 = ParseControlEndpoint("tcp://127.1.2.3:7070");
  ASSERT_TRUE(v4.ok());
  EXPECT_EQ(v4->host, "127.1.2.3");
  EXPECT_EQ(v4->port, 7070);
  EXPECT_TRUE(v4->loopback);
  EXPECT_TRUE(ParseControlEndpoint("tcp://[::1]:1")->loopback);
  EXPECT_TRUE(ParseControlEndpoint("tcp://[::ffff:127.0.0.1]:1")->loopback);
  EXPECT_TRUE(ParseControlEndpoint("tcp://localhost:1")->loopback);
  for (const char* wide :
       {"tcp://*:1", "tcp://0.0.0.0:1", "tcp://[::]:1", "tcp://[::ffff:10.0.0.1]:1",
        "tcp://node-7.rack:1", "tcp://127.0.0.1.example.org:1", "tcp://1270.0.0.1:1"}) {
    auto parsed = ParseControlEndpoint(wide);
    ASSERT_TRUE(parsed.ok()) << wide;
    EXPECT_FALSE(parsed->loopback) << wide;
  }
  for (const char* wrong : {"", "tcp://", "tcp://h", "tcp://:1", "tcp://h:", "tcp://h:65536",
                            "tcp://h:-1", "tcp://h:1x", "udp://h:1", "tcp://a;b:1", "tcp://[h]:1",
                            "tcp://::1:1", "tcp://h:1;tcp://g:2"}) {
    Status status = ParseControlEndpoint(wrong).status();
    EXPECT_EQ(status.code(), Code::kInvalid) << wrong;
    EXPECT_NE(status.message().find("use tcp://HOST:PORT"), std::string::npos);
  }
}

}  // namespace
}  // namespace holdfast::net
