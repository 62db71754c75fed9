// SPDX-License-Identifier: Apache-2.0
// grammy drives the fake as it drives Telegram: what it cannot use is not the Bot API.
// usage: node sdk.mjs URL FOLDER_WITH_NODE_MODULES TOKEN
import assert from "node:assert/strict";
import { createServer } from "node:http";

import { control, require, until, url, words } from "../common/sdk.mjs";

const [token] = words;
const { Bot, GrammyError, HttpError, InlineKeyboard, InputFile, webhookCallback } = require("grammy");

function make() {
  return new Bot(token, { client: { apiRoot: url } });
}

async function refused(promise, code, words) {
  const error = await promise.then(() => assert.fail("not refused"), (e) => e);
  assert.ok(error instanceof GrammyError, String(error));
  assert.equal(error.error_code, code);
  assert.ok(error.description.includes(words), error.description);
  return error;
}

// Polling: commands, mentions, keyboards, clicks, edits, topics.
async function polling() {
  const bot = make();
  await bot.init();
  assert.equal(bot.botInfo.username, "berth_test_bot");
  const heard = [];
  bot.command("run", async (context) => {
    heard.push(["run", context.match]);
    const keyboard = new InlineKeyboard().text("Approve", "token-1").text("Deny", "token-2");
    await context.reply("<b>Approve</b>?", { parse_mode: "HTML", reply_markup: keyboard, reply_parameters: { message_id: context.msgId } });
  });
  bot.callbackQuery("token-1", async (context) => {
    heard.push(["click", context.callbackQuery.data, context.from.id]);
    await context.answerCallbackQuery({ text: "approved" });
    await context.editMessageText("approved");
  });
  bot.hears(/./, (context) => heard.push(["text", context.msg.text, context.msg.message_thread_id]));
  bot.on("edited_message:text", (context) => heard.push(["edit", context.msg.text]));
  await bot.api.setMyCommands([{ command: "run", description: "Run a command" }]);
  assert.deepEqual(await bot.api.getMyCommands(), [{ command: "run", description: "Run a command" }]);
  const running = bot.start({ timeout: 5 });
  await control("say", { chat: 5, person: 5, text: "/run make test" });
  const card = await until(async () => (await control("chat/5")).messages.find((m) => m.bot), "no card");
  assert.deepEqual([card.text, card.buttons, card.answers], ["Approve?", ["Approve", "Deny"], 1]);
  assert.deepEqual(card.entities.map((e) => e.type), ["bold"]);
  const { query } = await control("click", { chat: 5, person: { id: 5, name: "ada" }, message: card.message, button: "Approve" });
  await until(async () => (await control("chat/5")).messages.some((m) => m.text === "approved" && m.edits === 1), "no edit");
  assert.deepEqual((await control(`query/${query}`)).answer, { text: "approved", alert: false });
  const said = await control("say", { chat: 5, person: 5, text: "a word" });
  await control("change", { chat: 5, message: said.message, text: "another" });
  await control("chat", { id: -1009, title: "forum", forum: true, topics: [4] });
  await control("say", { chat: -1009, person: 5, text: "hi @berth_test_bot", thread: 4 });
  await until(() => heard.length >= 5, `heard ${JSON.stringify(heard)}`);
  assert.deepEqual(heard, [["run", "make test"], ["click", "token-1", 5], ["text", "a word", undefined], ["edit", "another"],
    ["text", "hi @berth_test_bot", 4]]);
  const topic = await bot.api.sendMessage(-1009, "in the topic", { message_thread_id: 4 });
  assert.equal(topic.is_topic_message, true);
  await bot.stop();
  await running;
  assert.deepEqual((await control("state")).waiting, [], "stop() confirms what was handled");
}

async function refusals() {
  const { api } = make();
  await refused(api.sendMessage(404, "x"), 400, "chat not found");
  await refused(api.sendMessage(5, "<b>x", { parse_mode: "HTML" }), 400, "can't parse entities");
  await refused(api.sendMessage(5, "x".repeat(4097)), 400, "too long");
  const sent = await api.sendMessage(5, "same");
  await refused(api.editMessageText(5, sent.message_id, "same"), 400, "message is not modified");
  await control("faults", [{ method: "sendMessage", kind: "error", status: 429, retry_after: 7 }]);
  await control("say", { chat: 8, person: 8, text: "hello" });
  // A chat of its own: who is told to wait says nothing there for that long.
  const limited = await refused(api.sendMessage(8, "x"), 429, "Too Many Requests");
  assert.equal(limited.parameters.retry_after, 7);
  await control("chat", { id: -8, title: "old" });
  await control("upgrade", { chat: -8, to: -1008 });
  const moved = await refused(api.sendMessage(-8, "x"), 400, "upgraded");
  assert.equal(moved.parameters.migrate_to_chat_id, -1008);
  await control("say", { chat: 6, person: 6, text: "hello" });
  await control("block", { chat: 6 });
  await refused(api.sendMessage(6, "x"), 403, "blocked by the user");
  await control("faults", [{ method: "sendMessage", kind: "drop" }]);
  await assert.rejects(api.sendMessage(5, "x"), HttpError);
  await refused(new Bot("1:wrong", { client: { apiRoot: url } }).api.getMe(), 401, "Unauthorized");
  const file = await api.sendDocument(5, new InputFile(Buffer.from("lines\n"), "output.txt"), { caption: "all of it" });
  assert.equal(file.document.file_name, "output.txt");
  assert.equal((await control("chat/5")).messages.at(-1).file.text, "lines\n");
  await control("faults", []);
}

// Two pollers: the first one ends with 409, as grammy expects of Telegram.
async function secondPoller() {
  const bot = make();
  const running = bot.start({ timeout: 5, drop_pending_updates: true }).then(() => null, (error) => error);
  const polls = (await control("state")).polls;
  await until(async () => (await control("state")).polls > polls, "no poll");
  await fetch(`${url}/bot${token}/getUpdates`, { method: "POST", body: "{}", headers: { "Content-Type": "application/json" } });
  const error = await running;
  assert.ok(error instanceof GrammyError && error.error_code === 409, String(error));
}

// Webhook: the secret is sent, a wrong one is refused by grammy, nothing is confirmed before it is taken.
async function webhook() {
  const bot = make();
  const heard = [];
  let failures = 1;
  bot.on("message:text", (context) => {
    if (failures-- > 0) throw new Error("not yet");
    heard.push(context.msg.text);
  });
  const secretToken = "a-secret_of_the-test";
  const handle = webhookCallback(bot, "http", { secretToken });
  const server = createServer((request, response) => handle(request, response).catch(() => { response.statusCode = 500; response.end(); }));
  await new Promise((done) => server.listen(0, "127.0.0.1", done));
  const target = `http://127.0.0.1:${server.address().port}/hook`;
  await bot.api.setWebhook(target, { secret_token: secretToken, allowed_updates: ["message"], max_connections: 1 });
  assert.equal((await bot.api.getWebhookInfo()).url, target);
  await control("say", { chat: 5, person: 5, text: "by webhook" });
  await until(() => heard.length === 1, "no update by webhook");
  assert.deepEqual(heard, ["by webhook"]);
  assert.equal((await control("deliver", { update: { update_id: 1 }, secret: "wrong" })).status, 401);
  assert.equal((await control("deliver", { update: { update_id: 1 }, secret: null })).status, 401);
  await refused(bot.api.getUpdates(), 409, "webhook is active");
  await bot.api.deleteWebhook();
  server.closeAllConnections();
  server.close();
}

await polling();
await refusals();
await secondPoller();
await webhook();
const state = await control("state");
assert.deepEqual([state.flaws, state.violations], [[], []]);
console.log("grammy drove the fake: polling, keyboards, edits, refusals, files, a second poller, webhook");
process.exit(0);
