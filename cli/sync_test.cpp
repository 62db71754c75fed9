// SPDX-License-Identifier: Apache-2.0
// Proves which files are sent, that every kind of change is noticed, and that rsync makes the copy
// exact.
#include "cli/sync.hpp"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "cli/capture.hpp"
#include "cli/sync_list.hpp"
#include "core/fd.hpp"

namespace berth::cli {
namespace {

namespace fs = std::filesystem;

class SyncTest : public ::testing::Test {
protected:
    void SetUp() override {
        std::string name = (fs::temp_directory_path() / "berth-sync-XXXXXX").string();
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = fs::canonical(name);
        root_ = folder_ / "repo";
        ::setenv("XDG_CACHE_HOME", (folder_ / "cache").c_str(), 1);
        ::setenv("HOME", folder_.c_str(), 1);
        ::setenv("GIT_CONFIG_NOSYSTEM", "1", 1);
        git_in(folder_, {"init", "-q", "repo"});
        git_in(root_, {"config", "user.email", "t@example.org"});
        git_in(root_, {"config", "user.name", "t"});
        write("a.txt", "a");
        write("dir/b.txt", "b");
        write("dir/inner/c.txt", "c");
        write(".gitignore", "ignored/\n*.o\n");
        git_in(root_, {"add", "."});
        git_in(root_, {"commit", "-q", "-m", "one"});
    }
    void TearDown() override { fs::remove_all(folder_); }

    static void git_in(const fs::path& where, std::vector<std::string> words) {
        process::SpawnSpec spec;
        spec.argv = {"git", "-C", where.string()};
        spec.argv.insert(spec.argv.end(), words.begin(), words.end());
        const auto result = capture(spec, seconds{20});
        ASSERT_TRUE(result);
        ASSERT_EQ(result->code, 0) << result->err;
    }
    void write(const std::string& path, const std::string& text) const {
        fs::create_directories((root_ / path).parent_path());
        std::ofstream(root_ / path) << text;
    }
    PathList listed(const SyncRules& rules = {{}, {}, false}) const {
        const auto files = list_files(root_, rules);
        EXPECT_TRUE(files) << (files ? "" : files.error().message);
        const auto seen = scan(root_, files.value_or({}), rules);
        EXPECT_TRUE(seen);
        return seen ? seen->paths : PathList{};
    }
    std::string fingerprint(const SyncRules& rules = {{}, {}, false}) const {
        return scan(root_, list_files(root_, rules).value(), rules)->fingerprint;
    }
    fs::path folder_;
    fs::path root_;
};

TEST_F(SyncTest, TheListIsTheWorkingTree) {
    write("new.txt", "untracked");
    write("ignored/x", "x");
    write("main.o", "x");
    write("name with\nnewline", "x");
    fs::remove(root_ / "dir/b.txt");
    fs::create_symlink("a.txt", root_ / "link");
    ASSERT_EQ(::mkfifo((root_ / "pipe").c_str(), 0600), 0);
    EXPECT_EQ(
        listed(),
        (PathList{".gitignore", "a.txt", "dir/inner/c.txt", "link", "name with\nnewline", "new.txt"}
        )
    );
}

TEST_F(SyncTest, BerthignoreAndRulesCutAndAdd) {
    write(".berthignore", "dir/inner/\n");
    write("ignored/keep.bin", "x");
    write("ignored/drop.bin", "x");
    EXPECT_EQ(
        listed({{"keep.bin"}, {"a.txt"}, false}),
        (PathList{".berthignore", ".gitignore", "dir/b.txt", "ignored/keep.bin"})
    );
}

TEST_F(SyncTest, RepositoriesInsideAreEntered) {
    git_in(root_, {"init", "-q", "nested"});
    write("nested/n.txt", "n");
    write("nested/.gitignore", "*.o\n");
    write("nested/x.o", "x");
    const auto paths = listed();
    EXPECT_TRUE(std::binary_search(paths.begin(), paths.end(), "nested/n.txt"));
    EXPECT_FALSE(std::binary_search(paths.begin(), paths.end(), "nested/x.o"));
    EXPECT_FALSE(std::binary_search(paths.begin(), paths.end(), "nested/.git/HEAD"));
    const auto with_git = listed({{}, {}, true});
    EXPECT_TRUE(std::binary_search(with_git.begin(), with_git.end(), "nested/.git/HEAD"));
}

TEST_F(SyncTest, AFolderWithoutGitIsSentWhole) {
    fs::remove_all(root_ / ".git");
    write("main.o", "x");
    EXPECT_EQ(
        listed(), (PathList{".gitignore", "a.txt", "dir/b.txt", "dir/inner/c.txt", "main.o"})
    );
    write(".berthignore", "*.txt\n");
    EXPECT_EQ(listed(), (PathList{".berthignore", ".gitignore", "main.o"}));
}

TEST_F(SyncTest, TheFingerprintSeesEveryKindOfChange) {
    const std::string first = fingerprint();
    EXPECT_EQ(fingerprint(), first);
    write("ignored/x", "not seen");
    EXPECT_EQ(fingerprint(), first);
    std::vector<std::string> seen = {first};
    const auto expect_new = [&](const char* what) {
        const std::string now = fingerprint();
        EXPECT_EQ(std::count(seen.begin(), seen.end(), now), 0) << what;
        seen.push_back(now);
    };
    const auto time = fs::last_write_time(root_ / "a.txt");
    write("a.txt", "A");
    expect_new("content of the same size");
    write("ignored/other", "B");
    fs::last_write_time(root_ / "ignored/other", time);
    fs::rename(root_ / "ignored/other", root_ / "a.txt");
    expect_new("same size and time, another file");
    fs::permissions(root_ / "a.txt", fs::perms::owner_exec, fs::perm_options::add);
    expect_new("mode");
    write("new", "");
    expect_new("a new file");
    fs::rename(root_ / "new", root_ / "newer");
    expect_new("a new name");
    fs::remove(root_ / "newer");
    fs::create_symlink("a.txt", root_ / "newer");
    expect_new("a link");
    fs::remove(root_ / "dir/b.txt");
    expect_new("a deletion");
    const std::string with_git = fingerprint({{}, {}, true});
    git_in(root_, {"commit", "-q", "--allow-empty", "-m", "two"});
    EXPECT_NE(fingerprint({{}, {}, true}), with_git);
}

TEST_F(SyncTest, RecordsComeBackAndRubbishIsNone) {
    const SyncRecord record{"f", "/r", "tr_1", {"a", "b c", "d\ne"}};
    const SyncRecord back = parse_record(format_record(record));
    EXPECT_EQ(back.tree, record.tree);
    EXPECT_EQ(back.fingerprint, "f");
    EXPECT_EQ(back.root, "/r");
    EXPECT_EQ(back.paths, record.paths);
    EXPECT_TRUE(parse_record("rubbish").paths.empty());
    EXPECT_TRUE(parse_record("").root.empty());
}

TEST_F(SyncTest, VanishedAreOnlyThoseThatAreGone) {
    const PathList before = {"a.txt", "dir/b.txt", "dir/inner/c.txt", "was/a/folder"};
    fs::remove_all(root_ / "dir/inner");
    write("was/a", "now a file");
    EXPECT_EQ(vanished_paths(root_, before, {"was/a"}), (PathList{"dir/inner", "dir/inner/c.txt"}));
    fs::remove_all(root_ / "dir");
    fs::create_directories(folder_ / "outside/inner");
    fs::create_symlink(folder_ / "outside", root_ / "dir");
    EXPECT_EQ(vanished_paths(root_, before, {"dir", "was/a"}), PathList{});
    fs::remove(root_ / "a.txt");
    fs::create_directories(root_ / "a.txt/empty");
    EXPECT_EQ(vanished_paths(root_, before, {"dir", "was/a"}), PathList{"a.txt"});
    fs::create_directories(root_ / ".git/refs/a");
    EXPECT_EQ(vanished_paths(root_, {".git/refs/a"}, {}), PathList{});
}

TEST(SyncLimitsTest, EachGuardStrikesAlone) {
    const SyncLimits limits{10, 1000, 50};
    Scan scan;
    scan.paths = PathList(10, "x");
    scan.bytes = 1000;
    const PathList gone = {"a/1", "a/2", "a/3", "a\x1b/4", "a/5", "a/6"};
    const PathList five(gone.begin(), gone.begin() + 5);
    const PathList four(gone.begin(), gone.begin() + 4);
    EXPECT_EQ(check_limits(scan, 10, five, limits), "");
    const std::string many = check_limits(scan, 10, gone, limits);
    EXPECT_NE(many.find("6 of the 10"), std::string::npos) << many;
    EXPECT_NE(many.find("(a/1, a/2, a/3, ...)"), std::string::npos) << many;
    EXPECT_EQ(check_limits(scan, 5, four, limits), "");
    scan.bytes = 1001;
    EXPECT_NE(check_limits(scan, 10, {}, limits).find("max_bytes"), std::string::npos);
    scan.bytes = 0;
    scan.paths.emplace_back("y");
    EXPECT_NE(check_limits(scan, 10, {}, limits).find("max_files"), std::string::npos);
}

TEST_F(SyncTest, NobodyMeansToSendAHomeFolder) {
    const fs::path home = root_ / "people/ann";
    fs::create_directories(home / "project");
    EXPECT_NE(check_root("/", home), "");
    EXPECT_NE(check_root(home, home), "");
    EXPECT_NE(check_root(home / ".", home), "");
    EXPECT_NE(check_root(root_ / "people", home), "") << "holds it";
    fs::create_symlink(home, root_ / "way");
    EXPECT_NE(check_root(root_ / "way", home), "") << "by another name";
    EXPECT_EQ(check_root(home / "project", home), "");
    EXPECT_EQ(check_root(root_ / "peo", home), "") << "a name that begins alike";
    EXPECT_EQ(check_root(home / "project", "/"), "") << "users without a home";
}

// sync_tree's own arguments against the node agent's own server command: their agreement is what is
// tested.
class SyncCopyTest : public SyncTest {
protected:
    void SetUp() override {
        SyncTest::SetUp();
        copy_ = folder_ / "copy";
        fs::create_directory(copy_);
        shell_ = folder_ / "shell";
        std::ofstream(shell_
        ) << "#!/bin/sh\ncd "
          << copy_
          << " && exec rsync --server -logDtpRe.LsfxCIvu --delete-missing-args --force -@-1 . .\n";
        fs::permissions(shell_, fs::perms::owner_all);
    }
    /// Sends what is new since the last time.
    void sync() {
        const SyncRules rules{{}, {}, true};
        PathList all = scan(root_, list_files(root_, rules).value(), rules)->paths;
        const PathList git = list_git_folder(root_);
        all.insert(all.end(), git.begin(), git.end());
        std::sort(all.begin(), all.end());
        std::string input;
        PathList sent = all;
        for (const auto& path : vanished_paths(root_, sent_, all)) sent.push_back(path);
        for (const auto& path : sent) input += path + '\0';
        process::SpawnSpec spec;
        spec.argv = rsync_arguments();
        spec.argv.insert(spec.argv.begin(), "rsync");
        for (const std::string& word :
             {std::string("-e"), shell_.string(), root_.string() + "/", std::string("machine:.")})
            spec.argv.push_back(word);
        const auto result = capture(spec, seconds{20}, input);
        ASSERT_TRUE(result);
        EXPECT_TRUE(result->code == 0 || result->code == 24) << result->code << result->err;
        sent_ = std::move(all);
    }
    fs::path copy_;
    fs::path shell_;
    PathList sent_;
};

TEST_F(SyncCopyTest, RsyncMakesTheCopyExactAndLeavesIgnoredFilesAlone) {
    write("swift.txt", "one");
    sync();
    fs::create_directories(copy_ / "ignored");
    std::ofstream(copy_ / "ignored/remote") << "stays";
    std::ofstream(copy_ / "dir/b.o") << "stays";
    write("ignored/local", "stays here");
    write("a.txt", "modified");
    write("swift.txt", "two");  // of the same size, most likely within the same second
    write("staged.txt", "staged");
    git_in(root_, {"add", "staged.txt"});
    write("untracked.txt", "untracked");
    fs::remove_all(root_ / "dir/inner");
    fs::remove(root_ / "dir/b.txt");
    write("dir/b.txt/now", "a folder");
    sync();
    EXPECT_EQ(read_file(copy_ / "a.txt").value(), "modified");
    EXPECT_EQ(read_file(copy_ / "swift.txt").value(), "two");
    EXPECT_TRUE(fs::exists(copy_ / "staged.txt"));
    EXPECT_TRUE(fs::exists(copy_ / "untracked.txt"));
    EXPECT_TRUE(fs::exists(copy_ / "dir/b.txt/now"));
    EXPECT_FALSE(fs::exists(copy_ / "dir/inner"));
    EXPECT_TRUE(fs::exists(copy_ / "ignored/remote"));
    EXPECT_TRUE(fs::exists(copy_ / "dir/b.o"));
    EXPECT_FALSE(fs::exists(copy_ / "ignored/local"));
    process::SpawnSpec status;
    status.argv = {"git", "-C", copy_.string(), "status", "--porcelain"};
    const auto there = capture(status, seconds{20});
    status.argv[2] = root_.string();
    const auto here = capture(status, seconds{20});
    EXPECT_EQ(there->out, here->out) << there->err;
    fs::remove_all(root_ / "dir/b.txt");
    write("dir/b.txt", "a file again");
    sync();
    EXPECT_EQ(read_file(copy_ / "dir/b.txt").value(), "a file again");
}

TEST_F(SyncCopyTest, ASymlinkInAFoldersPlaceArrivesAsOne) {
    const fs::path outside = folder_ / "outside";
    fs::create_directories(outside / "inner");
    std::ofstream(outside / "b.txt") << "not of this tree";
    std::ofstream(outside / "inner/c.txt") << "not of this tree";
    write("loop/e", "e");
    write("again/f", "f");
    sync();
    fs::remove_all(root_ / "dir");
    fs::create_symlink(outside, root_ / "dir");
    fs::remove_all(root_ / "loop");
    fs::create_symlink(".", root_ / "loop");
    write("e", "e");
    fs::create_directory(root_ / "shared");
    fs::rename(root_ / "again", root_ / "shared/again");
    fs::create_symlink("shared/again", root_ / "again");
    const PathList paths = listed();
    EXPECT_FALSE(std::binary_search(paths.begin(), paths.end(), "dir/b.txt"));
    EXPECT_TRUE(std::binary_search(paths.begin(), paths.end(), "dir"));
    sync();
    for (const char* link : {"dir", "loop", "again"})
        EXPECT_TRUE(fs::is_symlink(fs::symlink_status(copy_ / link))) << link;
    EXPECT_EQ(read_file(copy_ / "again/f").value(), "f");
}

TEST_F(SyncCopyTest, ASymlinkInARepositorysPlaceArrivesAsOne) {
    const fs::path outside = folder_ / "outside";
    git_in(folder_, {"init", "-q", "outside"});
    std::ofstream(outside / "n.txt") << "not of this tree";
    git_in(root_, {"init", "-q", "nested"});
    git_in(root_ / "nested", {"config", "user.email", "t@example.org"});
    git_in(root_ / "nested", {"config", "user.name", "t"});
    write("nested/n.txt", "n");
    git_in(root_ / "nested", {"add", "."});
    git_in(root_ / "nested", {"commit", "-q", "-m", "one"});
    git_in(root_, {"-c", "advice.addEmbeddedRepo=false", "add", "nested"});
    sync();
    EXPECT_EQ(read_file(copy_ / "nested/n.txt").value(), "n");
    fs::remove_all(root_ / "nested");
    fs::create_symlink(outside, root_ / "nested");
    sync();
    EXPECT_TRUE(fs::is_symlink(fs::symlink_status(copy_ / "nested")));
}

TEST_F(SyncCopyTest, AFolderTakesThePlaceOfAFile) {
    write("out", "a file");
    fs::create_symlink("a.txt", root_ / "link");
    sync();
    for (const char* path : {"out", "link"}) {
        fs::remove(root_ / path);
        fs::create_directory(root_ / path);
    }
    sync();
    for (const char* path : {"out", "link"})
        EXPECT_TRUE(fs::is_directory(fs::symlink_status(copy_ / path))) << path;
}

TEST_F(SyncTest, FiveThousandUnchangedFilesAreSeenQuickly) {
    for (int i = 0; i < 5000; ++i)
        write("many/" + std::to_string(i % 50) + "/" + std::to_string(i), "x");
    git_in(root_, {"add", "."});
    const std::string first = fingerprint();
    auto best = milliseconds::max();
    for (int i = 0; i < 5; ++i) {
        const auto begin = std::chrono::steady_clock::now();
        EXPECT_EQ(fingerprint(), first);
        best = std::min(
            best, std::chrono::duration_cast<milliseconds>(std::chrono::steady_clock::now() - begin)
        );
    }
    RecordProperty("best_ms", static_cast<int>(best.count()));
#if defined(__SANITIZE_THREAD__) || defined(__SANITIZE_ADDRESS__)
    constexpr milliseconds kBudget{1'500};  // a sanitizer takes ten times as long
#else
    constexpr milliseconds kBudget{150};  // some 15 ms on an idle machine; tests share theirs
#endif
    EXPECT_LT(best, kBudget);
}

}  // namespace
}  // namespace berth::cli
