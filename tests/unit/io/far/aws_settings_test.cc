// SPDX-License-Identifier: Apache-2.0
#include "io/far/aws_settings.h"

#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>

namespace holdfast::far {
namespace {

namespace fs = std::filesystem;

class AwsSettingsTest : public testing::Test {
 protected:
  void SetUp() override {
    std::string path = (fs::temp_directory_path() / "holdfast-aws-XXXXXX").string();
    ASSERT_NE(mkdtemp(path.data()), nullptr);
    home_ = path;
    fs::create_directory(home_ + "/.aws");
    variables_["HOME"] = home_;
  }
  void TearDown() override { fs::remove_all(home_); }
  void Write(const std::string& name, const std::string& text) {
    std::ofstream(home_ + "/" + name) << text;
  }
  Status Add(FarOptions* options) {
    return AddAwsSettings(
        [this](const char* name) -> std::optional<std::string> {
          const auto it = variables_.find(name);
          if (it == variables_.end()) return std::nullopt;
          return it->second;
        },
        options);
  }

  std::string home_;
  std::map<std::string, std::string> variables_;
};

constexpr char kCredentials[] =
    "# comment\n[default]\naws_access_key_id = AKDEFAULT\naws_secret_access_key=sec=ret+/\n\n"
    "[other]\r\naws_access_key_id=AKOTHER\r\naws_secret_access_key=s2\r\naws_session_token=tok\r\n"
    "[half]\naws_access_key_id=AKHALF\n";
constexpr char kConfig[] =
    "[default]\nregion = eu-1\ns3 =\n  addressing_style = path\n"
    "[profile other]\nregion=eu-2\nendpoint_url=https://other.example\naws_access_key_id=LOSES\n"
    "[profile keys]\naws_access_key_id=AKCONFIG\naws_secret_access_key=s3\n";

TEST_F(AwsSettingsTest, NothingGivesAnonymousRequestsToAmazon) {
  FarOptions options;
  ASSERT_TRUE(Add(&options).ok());
  EXPECT_TRUE(options.s3.credentials.anonymous());
  EXPECT_EQ(options.s3.region, "us-east-1");
  EXPECT_EQ(options.s3.endpoint, "https://s3.us-east-1.amazonaws.com");
}

TEST_F(AwsSettingsTest, FilesGiveTheDefaultProfile) {
  Write(".aws/credentials", kCredentials);
  Write(".aws/config", kConfig);
  FarOptions options;
  ASSERT_TRUE(Add(&options).ok());
  EXPECT_EQ(options.s3.credentials.access_key, "AKDEFAULT");
  EXPECT_EQ(options.s3.credentials.secret_key, "sec=ret+/");
  EXPECT_EQ(options.s3.region, "eu-1");
}

TEST_F(AwsSettingsTest, AProfileByNameFromOtherFiles) {
  Write("c", kCredentials);
  Write("d", kConfig);
  variables_["AWS_SHARED_CREDENTIALS_FILE"] = home_ + "/c";
  variables_["AWS_CONFIG_FILE"] = home_ + "/d";
  variables_["AWS_PROFILE"] = "other";
  FarOptions options;
  ASSERT_TRUE(Add(&options).ok());
  EXPECT_EQ(options.s3.credentials.access_key, "AKOTHER");
  EXPECT_EQ(options.s3.credentials.session_token, "tok");
  EXPECT_EQ(options.s3.region, "eu-2");
  EXPECT_EQ(options.s3.endpoint, "https://other.example");
  variables_["AWS_PROFILE"] = "keys";
  options = {};
  ASSERT_TRUE(Add(&options).ok());
  EXPECT_EQ(options.s3.credentials.access_key, "AKCONFIG");
}

// As for the AWS programs: only its keys give way, the rest of the profile counts.
TEST_F(AwsSettingsTest, TheKeysOfTheEnvironmentWinOverANamedProfile) {
  Write(".aws/credentials", kCredentials);
  Write(".aws/config", kConfig);
  variables_["AWS_PROFILE"] = "other";
  variables_["AWS_ACCESS_KEY_ID"] = "AKENV";
  variables_["AWS_SECRET_ACCESS_KEY"] = "es";
  FarOptions options;
  ASSERT_TRUE(Add(&options).ok());
  EXPECT_EQ(options.s3.credentials.access_key, "AKENV");
  EXPECT_EQ(options.s3.credentials.session_token, "");
  EXPECT_EQ(options.s3.region, "eu-2");
}

TEST_F(AwsSettingsTest, TheEnvironmentWinsOverTheDefaultProfile) {
  Write(".aws/credentials", kCredentials);
  Write(".aws/config", kConfig);
  variables_["AWS_ACCESS_KEY_ID"] = "AKENV";
  variables_["AWS_SECRET_ACCESS_KEY"] = "es";
  variables_["AWS_SESSION_TOKEN"] = "et";
  variables_["AWS_DEFAULT_REGION"] = "ap-1";
  variables_["AWS_ENDPOINT_URL"] = "http://127.0.0.1:9000";
  variables_["AWS_CA_BUNDLE"] = "/ca.pem";
  FarOptions options;
  ASSERT_TRUE(Add(&options).ok());
  EXPECT_EQ(options.s3.credentials.access_key, "AKENV");
  EXPECT_EQ(options.s3.credentials.session_token, "et");
  EXPECT_EQ(options.s3.region, "ap-1");
  EXPECT_EQ(options.s3.endpoint, "http://127.0.0.1:9000");
  EXPECT_EQ(options.ca_bundle, "/ca.pem");
}

TEST_F(AwsSettingsTest, WhatWasConfiguredStays) {
  variables_["AWS_ACCESS_KEY_ID"] = "AKENV";
  variables_["AWS_SECRET_ACCESS_KEY"] = "es";
  variables_["AWS_REGION"] = "ap-1";
  variables_["AWS_CA_BUNDLE"] = "/ca.pem";
  FarOptions options;
  options.s3.credentials = {.access_key = "MINE", .secret_key = "s"};
  options.s3.region = "mine-1";
  options.s3.endpoint = "http://mine";
  options.ca_bundle = "/mine.pem";
  ASSERT_TRUE(Add(&options).ok());
  EXPECT_EQ(options.s3.credentials.access_key, "MINE");
  EXPECT_EQ(options.s3.region, "mine-1");
  EXPECT_EQ(options.s3.endpoint, "http://mine");
  EXPECT_EQ(options.ca_bundle, "/mine.pem");
  options = {};
  options.s3.anonymous = true;
  ASSERT_TRUE(Add(&options).ok());
  EXPECT_TRUE(options.s3.credentials.anonymous());
}

// It was taken for an empty one, and requests went out without the keys that are in it.
TEST_F(AwsSettingsTest, AFileThatCannotBeReadIsAnError) {
  fs::create_directory(home_ + "/.aws/credentials");  // root reads everything but a directory
  FarOptions options;
  const Status status = Add(&options);
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_NE(status.message().find(home_ + "/.aws/credentials"), std::string::npos);
}

TEST_F(AwsSettingsTest, CommentsMayFollowValues) {
  Write(".aws/credentials",
        "[default] ; mine\naws_access_key_id = AK # old\naws_secret_access_key = s#;+/=\t; note\n");
  FarOptions options;
  ASSERT_TRUE(Add(&options).ok());
  EXPECT_EQ(options.s3.credentials.access_key, "AK");
  EXPECT_EQ(options.s3.credentials.secret_key, "s#;+/=");
}

// The token of one key pair with another pair is refused by every store.
TEST_F(AwsSettingsTest, KeysOfTwoFilesAreNotMixed) {
  Write(".aws/credentials", "[default]\naws_access_key_id=AK\naws_secret_access_key=s\n");
  Write(".aws/config",
        "[default]\naws_access_key_id=AK2\naws_secret_access_key=s2\naws_session_token=t2\n");
  FarOptions options;
  ASSERT_TRUE(Add(&options).ok());
  EXPECT_EQ(options.s3.credentials.access_key, "AK");
  EXPECT_EQ(options.s3.credentials.session_token, "");
}

TEST_F(AwsSettingsTest, HalvesAndMissingProfilesAreErrors) {
  Write(".aws/credentials", kCredentials);
  FarOptions options;
  variables_["AWS_PROFILE"] = "half";
  EXPECT_EQ(Add(&options).code(), Code::kInvalid);
  variables_["AWS_PROFILE"] = "nobody";
  EXPECT_EQ(Add(&options).code(), Code::kInvalid);
  variables_.erase("AWS_PROFILE");
  variables_["AWS_SECRET_ACCESS_KEY"] = "alone";
  const Status status = Add(&options);
  EXPECT_EQ(status.code(), Code::kInvalid);
  EXPECT_EQ(status.message().find("alone"), std::string::npos);
}

}  // namespace
}  // namespace holdfast::far
