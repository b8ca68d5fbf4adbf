// Each way to log in, and TLS, against a real server.
// clang-format off
#include "keys.h"  // before nats.h, which in newer versions defines one of OpenSSL's names
#include "fixture.h"
// clang-format on

#include <fstream>

namespace penstock::fakes {
namespace {

// A host with secrets and a sink that is started.
struct LoggedIn {
  LoggedIn(const Values& values, const std::map<std::string, std::string>& secrets = {}) {
    for (const auto& [reference, secret] : secrets) host.SetSecret(reference, secret);
    sink = std::make_unique<FakeSink>(host, Plugin(), values);
    sink->Start();
  }
  bool Ready() { return host.WaitState(PENSTOCK_STATE_READY); }
  int32_t Outcome(const FakeMessage& message) {
    const uint64_t token = sink->Submit(message);
    EXPECT_TRUE(host.WaitSettled());
    return host.receipt(token).outcome;
  }
  FakeSinkHost host{"bus"};
  std::unique_ptr<FakeSink> sink;
};

TEST(NatsJetStreamLogin, UserAndPassword) {
  NatsServer server("authorization { user: penstock, password: \"pa ss:w@rd\" }");
  LoggedIn run(With(server, {{"user", "penstock"}, {"password", "env:P"}}),
               {{"env:P", "pa ss:w@rd"}});
  EXPECT_TRUE(run.Ready());
}

TEST(NatsJetStreamLogin, TakesUpARotatedPassword) {
  NatsServer server("authorization { user: penstock, password: right }");
  LoggedIn run(With(server, {{"user", "penstock"}, {"password", "env:P"}}), {{"env:P", "wrong"}});
  ASSERT_TRUE(run.host.WaitText("refuses the login"));
  for (const auto& [state, text] : run.host.states()) {
    EXPECT_EQ(state, PENSTOCK_STATE_CONNECTING);
    EXPECT_EQ(text.find("wrong"), std::string::npos) << "a secret in the log";
  }
  run.host.SetSecret("env:P", "right");
  EXPECT_TRUE(run.Ready());
  // And one that changes while it is connected.
  server.Stop();
  server.SetConfig("authorization { user: penstock, password: newer }");
  run.host.SetSecret("env:P", "newer");
  server.Start();
  EXPECT_TRUE(run.Ready());
}

TEST(NatsJetStreamLogin, SaysWhichSecretCannotBeRead) {
  NatsServer server("authorization { token: t }");
  LoggedIn run(With(server, {{"token", "env:TOKEN"}}));
  ASSERT_TRUE(run.host.WaitText("env:TOKEN"));
  run.host.SetSecret("env:TOKEN", "t");
  EXPECT_TRUE(run.Ready());
}

TEST(NatsJetStreamLogin, Token) {
  NatsServer server("authorization { token: \"s3cret\" }");
  LoggedIn run(With(server, {{"token", "env:TOKEN"}}), {{"env:TOKEN", "s3cret"}});
  EXPECT_TRUE(run.Ready());
}

TEST(NatsJetStreamLogin, NKeySeedFile) {
  const NKey user(NKey::kUser);
  TempDir dir;
  std::ofstream(dir.path() + "/seed") << "-- a comment --\n" << user.Seed() << "\n";
  NatsServer server("authorization { users: [ { nkey: " + user.Public() + " } ] }");
  LoggedIn run(With(server, {{"nkey_seed_file", dir.path() + "/seed"}}));
  EXPECT_TRUE(run.Ready());
}

TEST(NatsJetStreamLogin, SaysWhatIsWrongWithASeedFile) {
  TempDir dir;
  const std::string path = dir.path() + "/seed";
  NatsServer server;
  LoggedIn run(With(server, {{"nkey_seed_file", path}}));
  EXPECT_TRUE(run.host.WaitText(path + " cannot be read"));
  std::string seed = NKey(NKey::kUser).Seed();
  seed[20] = seed[20] == 'A' ? 'B' : 'A';
  std::ofstream(path) << seed;
  LoggedIn other(With(server, {{"nkey_seed_file", path}}));
  EXPECT_TRUE(other.host.WaitText("its check sum is wrong"));
}

TEST(NatsJetStreamLogin, CredsFile) {
  const NKey op(NKey::kOperator), system(NKey::kAccount), account(NKey::kAccount),
      user(NKey::kUser);
  const auto account_jwt = [&op](const NKey& of, const std::string& name) {
    return op.Jwt(
        of.Public(), name,
        R"({"limits":{"subs":-1,"data":-1,"payload":-1,"imports":-1,"exports":-1,)"
        R"("wildcards":true,"conn":-1,"leaf":-1)" +
            std::string(name == "A" ? R"(,"mem_storage":-1,"disk_storage":-1,"streams":-1,)"
                                      R"("consumer":-1)"
                                    : "") +
            R"(},"default_permissions":{"pub":{},"sub":{}},"type":"account","version":2})");
  };
  const std::string user_jwt = account.Jwt(
      user.Public(), "u",
      R"({"pub":{},"sub":{},"subs":-1,"data":-1,"payload":-1,"type":"user","version":2})");
  TempDir dir;
  std::ofstream(dir.path() + "/user.creds") << "-----BEGIN NATS USER JWT-----\n"
                                            << user_jwt << "\n------END NATS USER JWT------\n\n"
                                            << "-----BEGIN USER NKEY SEED-----\n"
                                            << user.Seed() << "\n------END USER NKEY SEED------\n";
  NatsServer server("operator: " + op.Jwt(op.Public(), "O", R"({"type":"operator","version":2})") +
                    "\nsystem_account: " + system.Public() +
                    "\nresolver: MEMORY\nresolver_preload: { " + account.Public() + ": " +
                    account_jwt(account, "A") + ", " + system.Public() + ": " +
                    account_jwt(system, "SYS") + " }");
  LoggedIn run(With(server, {{"creds_file", dir.path() + "/user.creds"},
                             {"stream.name", "S"},
                             {"stream.create", true},
                             {"stream.subjects", List{"t.>"}}}));
  EXPECT_TRUE(run.Ready());
  EXPECT_EQ(run.Outcome(Message("t.a", "x", "1")), PENSTOCK_DELIVERED);
}

class NatsJetStreamTls : public ::testing::Test {
 protected:
  void SetUp() override {
    certificates_.MakeAuthority("ca");
    certificates_.MakeAuthority("other-ca");
    certificates_.Make("server", "ca", "IP:127.0.0.1,DNS:nats.test");
    certificates_.Make("client", "ca", "DNS:client");
  }
  std::string File(const std::string& name) const { return certificates_.File(name); }
  std::string Config(bool verify_clients = false) const {
    return "tls { cert_file: \"" + File("server.pem") + "\", key_file: \"" + File("server.key") +
           "\", ca_file: \"" + File("ca.pem") +
           "\", verify: " + (verify_clients ? "true" : "false") + " }";
  }
  TempDir dir_;
  Certificates certificates_{dir_.path()};
};

TEST_F(NatsJetStreamTls, CarriesLoad) {
  NatsServer server(Config());
  LoggedIn run(With(server, {{"tls.ca_file", File("ca.pem")},
                             {"stream.name", "S"},
                             {"stream.create", true},
                             {"stream.subjects", List{"t.>"}}}));
  ASSERT_TRUE(run.Ready());
  for (int round = 0; round < 20; ++round) {
    std::vector<FakeMessage> batch;
    for (int i = 0; i < 100; ++i)
      batch.push_back(Message("t.a", std::string(static_cast<size_t>(i) * 50, 'x'),
                              std::to_string(round * 100 + i)));
    run.sink->Submit(std::move(batch));
  }
  ASSERT_TRUE(run.host.WaitReceipts(2000));
  EXPECT_EQ(run.host.count(PENSTOCK_DELIVERED), 2000u);
}

TEST_F(NatsJetStreamTls, VerifiesTheServersCertificate) {
  NatsServer server(Config());
  LoggedIn run(With(server, {{"tls.ca_file", File("other-ca.pem")}}));
  EXPECT_TRUE(run.host.WaitText("no TLS connection to"));
  EXPECT_NE(run.host.states().back().first, PENSTOCK_STATE_READY);
}

TEST_F(NatsJetStreamTls, VerifiesTheServersName) {
  NatsServer server(Config());
  LoggedIn wrong(
      With(server, {{"tls.ca_file", File("ca.pem")}, {"tls.server_name", "other.test"}}));
  EXPECT_TRUE(wrong.host.WaitText("no TLS connection to"));
  LoggedIn right(With(server, {{"tls.ca_file", File("ca.pem")}, {"tls.server_name", "nats.test"}}));
  EXPECT_TRUE(right.Ready());
}

// The servers of Argo's controller: a certificate of their own, and the user "js" or a token.
TEST_F(NatsJetStreamTls, CanLeaveVerificationOutWithEachLogin) {
  const std::string logins[] = {"", "authorization { user: js, password: pw }",
                                "authorization { token: pw }"};
  const Values keys[] = {{}, {{"user", "js"}, {"password", "env:P"}}, {{"token", "env:P"}}};
  for (size_t i = 0; i < std::size(logins); ++i) {
    NatsServer server(Config() + "\n" + logins[i]);
    Values values = keys[i];
    values.insert({"tls.insecure_skip_verify", true});
    LoggedIn run(With(server, values), {{"env:P", "pw"}});
    EXPECT_TRUE(run.Ready()) << logins[i];
  }
}

TEST_F(NatsJetStreamTls, ServerThatLeavesTheChoice) {
  NatsServer server(Config() + "\nallow_non_tls: true");
  LoggedIn plain(With(server));
  EXPECT_TRUE(plain.Ready());
  // nats.c 3.4.1 asks for TLS only where it must; what matters is that it is never left out.
  LoggedIn verified(With(server, {{"tls.ca_file", File("other-ca.pem")}}));
  EXPECT_TRUE(verified.host.WaitStates(2));
  EXPECT_TRUE(verified.host.HasText("(allow_non_tls)") ||
              verified.host.HasText("no TLS connection to"));
  EXPECT_NE(verified.host.states().back().first, PENSTOCK_STATE_READY);
}

TEST_F(NatsJetStreamTls, ShowsItsOwnCertificate) {
  NatsServer server(Config(true));
  LoggedIn without(With(server, {{"tls.ca_file", File("ca.pem")}}));
  LoggedIn with(With(server, {{"tls.ca_file", File("ca.pem")},
                              {"tls.cert_file", File("client.pem")},
                              {"tls.key_file", File("client.key")}}));
  EXPECT_TRUE(with.Ready());
  EXPECT_TRUE(without.host.WaitStates(2));
  EXPECT_NE(without.host.states().back().first, PENSTOCK_STATE_READY);
}

TEST_F(NatsJetStreamTls, TakesUpChangedCertificates) {
  NatsServer server(Config());
  const std::string ca = File("used-ca.pem");
  std::filesystem::copy_file(File("other-ca.pem"), ca);
  LoggedIn run(With(server, {{"tls.ca_file", ca}}));
  ASSERT_TRUE(run.host.WaitText("no TLS connection to"));
  std::filesystem::copy_file(File("ca.pem"), ca, std::filesystem::copy_options::overwrite_existing);
  EXPECT_TRUE(run.Ready());
}

TEST_F(NatsJetStreamTls, SaysWhenOneSideHasTlsAndTheOtherNot) {
  NatsServer with(Config()), without;
  LoggedIn plain({{"servers", List{with.url()}}});
  EXPECT_TRUE(plain.host.WaitText("no TLS connection to"));  // not by the system's roots
  LoggedIn tls({{"servers", List{"tls://" + without.address()}}});
  EXPECT_TRUE(tls.host.WaitText("offers none"));
  LoggedIn missing(With(with, {{"tls.ca_file", File("none.pem")}}));
  EXPECT_TRUE(missing.host.WaitText("none.pem cannot be used"));
}

TEST_F(NatsJetStreamTls, FrozenServerHoldsUpNothing) {
  NatsServer server(Config());
  LoggedIn run(With(server, {{"tls.ca_file", File("ca.pem")}, {"ack_timeout", milliseconds(300)}}));
  ASSERT_TRUE(run.Ready());
  server.Freeze();
  const auto before = std::chrono::steady_clock::now();
  std::vector<FakeMessage> batch;
  for (int i = 0; i < 200; ++i) batch.push_back(Message("t.a", std::string(60000, 'x')));
  run.sink->Submit(std::move(batch));
  EXPECT_LT(std::chrono::steady_clock::now() - before, seconds(4));
  run.sink->Destroy();
  EXPECT_LT(std::chrono::steady_clock::now() - before, seconds(5));
}

}  // namespace
}  // namespace penstock::fakes
