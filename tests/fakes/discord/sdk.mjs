// SPDX-License-Identifier: Apache-2.0
// discord.js and discord-interactions against the fake: what they cannot use is not Discord.
// usage: node sdk.mjs FAKE_URL FOLDER_WITH_NODE_MODULES TOKEN
import assert from 'node:assert/strict';
import http from 'node:http';
import { test } from 'node:test';

import { control, require, until, url, words } from '../common/sdk.mjs';

const [token] = words;
const {
  ActionRowBuilder, ButtonBuilder, ButtonStyle, ChannelType, Client, EmbedBuilder, Events, GatewayIntentBits, MessageFlags,
  ModalBuilder, Partials, TextInputBuilder, TextInputStyle,
} = require('discord.js');
const { verifyKey, InteractionResponseType } = require('discord-interactions');

const state = () => control('state');
const shown = async (place, viewer) => (await control(`channel/${place}${viewer ? `?as=${viewer}` : ''}`)).messages;
const counted = async (what) => (await state()).counts[what] ?? 0;

/** The next event that `wanted` takes, started before `act` so that nothing is missed. */
function next(client, event, wanted = () => true) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`no ${event} ${wanted}`)), 20000);
    const listener = (...values) => {
      if (!wanted(...values)) return;
      clearTimeout(timer);
      client.off(event, listener);
      resolve(values[0]);
    };
    client.on(event, listener);
  });
}

async function login(intents = [GatewayIntentBits.Guilds, GatewayIntentBits.GuildMessages, GatewayIntentBits.DirectMessages]) {
  const client = new Client({ intents, partials: [Partials.Channel], rest: { api: `${url}/api`, retries: 3 } });
  client.on('error', () => {});
  if (process.env.DISCORD_PROOF_DEBUG) client.on('debug', console.log);
  await client.login(token);
  if (!client.isReady()) await next(client, Events.ClientReady);
  return client;
}

const client = await login();
const berth = {
  name: 'berth', description: 'Machines',
  options: [{ type: 1, name: 'run', description: 'Runs', options: [{ type: 3, name: 'arguments', description: 'What', required: true }] },
    { type: 1, name: 'status', description: 'Status' }],
};
const runOption = [{ type: 1, name: 'run', options: [{ type: 3, name: 'arguments', value: 'make test' }] }];

async function command(person = 'ann', channel = 'general') {
  const came = next(client, Events.InteractionCreate, (i) => i.isChatInputCommand());
  await control('command', { person, channel, options: runOption });
  return came;
}

test('login, guild and commands', async () => {
  assert.equal(client.user.username, 'berth-bot');
  assert.equal(client.guilds.cache.size, 1);
  await client.application.commands.set([berth]);
  assert.equal((await client.application.commands.fetch()).first().options.length, 2);
  await assert.rejects(client.application.commands.set([{ name: 'Bad Name', description: 'x' }]), /50035|Invalid Form Body/);
});

test('a mention and a direct message come with their text, others without', async () => {
  const { general } = (await state()).channels;
  let came = next(client, Events.MessageCreate, (m) => m.author.username === 'ann');
  await control('message', { person: 'ann', channel: 'general', text: 'run true', mention: true });
  let message = await came;
  assert.equal(message.content, `<@${client.user.id}> run true`);
  assert.ok(message.mentions.users.has(client.user.id));
  assert.equal(message.channelId, general);
  const reply = await message.reply({ content: 'yes @everyone', allowedMentions: { parse: [] }, nonce: '42', enforceNonce: true });
  const again = await message.channel.send({ content: 'yes', nonce: '42', enforceNonce: true });
  assert.equal(again.id, reply.id);
  await reply.edit('done');
  const stands = (await shown('general')).find((m) => m.id === reply.id);
  assert.deepEqual([stands.content, stands.edits, stands.answers, stands.everyone], ['done', 1, message.id, false]);
  came = next(client, Events.MessageCreate, (m) => m.author.username === 'ann');
  await control('message', { person: 'ann', channel: 'general', text: 'chatter' });
  assert.equal((await came).content, '');
  came = next(client, Events.MessageCreate, (m) => m.author.username === 'bob');
  await control('message', { person: 'bob', channel: 'dm:bob', text: 'hello' });
  message = await came;
  assert.equal(message.content, 'hello');
  assert.equal(message.channel.type, ChannelType.DM);
  await message.author.send('hi');
  assert.equal((await shown('dm:bob')).at(-1).content, 'hi');
});

test('a thread is a channel with a parent', async () => {
  const { general, thread } = (await state()).channels;
  const found = await client.channels.fetch(thread);
  assert.ok(found.isThread());
  assert.equal(found.parentId, general);
  await found.send('in the thread');
  assert.equal((await shown('thread')).at(-1).content, 'in the thread');
});

test('a command: deferred, filled, followed up, and a file', async () => {
  const interaction = await command();
  assert.equal(interaction.options.getSubcommand(), 'run');
  assert.equal(interaction.options.getString('arguments'), 'make test');
  await interaction.deferReply();
  assert.ok((await shown('general')).at(-1).loading);
  await interaction.editReply({
    embeds: [new EmbedBuilder().setTitle('Run').setDescription('x').addFields({ name: 'state', value: 'running' }).setColor(0xff0000)],
    components: [new ActionRowBuilder().addComponents(
      new ButtonBuilder().setCustomId('b:ok').setLabel('Approve').setStyle(ButtonStyle.Success),
      new ButtonBuilder().setCustomId('c:no').setLabel('Deny').setStyle(ButtonStyle.Danger))],
  });
  const card = (await shown('general')).at(-1);
  assert.deepEqual([card.loading, card.embeds[0].title, card.components[0].components[1].custom_id], [false, 'Run', 'c:no']);
  await interaction.followUp({ content: 'only you', flags: MessageFlags.Ephemeral });
  assert.equal((await shown('general')).at(-1).id, card.id);
  assert.equal((await shown('general', 'ann')).at(-1).content, 'only you');
  const file = await interaction.followUp({ content: 'out', files: [{ attachment: Buffer.from('line\n'), name: 'output.txt' }] });
  assert.equal(file.attachments.first().size, 5);
  assert.deepEqual((await shown('general')).at(-1).files, [{ name: 'output.txt', text: 'line\n' }]);
  await interaction.deleteReply();
  assert.ok(!(await shown('general')).some((m) => m.id === card.id));
  await assert.rejects(interaction.reply('twice'), /already/);
});

test('a click, and a modal for its comment', async () => {
  const interaction = await command();
  await interaction.reply({
    content: 'card',
    components: [new ActionRowBuilder().addComponents(
      new ButtonBuilder().setCustomId('b:ok').setLabel('Approve').setStyle(ButtonStyle.Success),
      new ButtonBuilder().setCustomId('c:no').setLabel('Deny').setStyle(ButtonStyle.Danger))],
  });
  const card = (await shown('general')).at(-1);
  let came = next(client, Events.InteractionCreate, (i) => i.isButton());
  await control('click', { person: 'bob', channel: 'general', message: card.id, button: 'Approve' });
  const click = await came;
  assert.deepEqual([click.customId, click.message.id, click.user.username], ['b:ok', card.id, 'bob']);
  await click.deferUpdate();
  await click.editReply({ content: 'approved' });
  came = next(client, Events.InteractionCreate, (i) => i.isButton());
  const asked = await control('click', { person: 'bob', channel: 'general', message: card.id, button: 'Deny' });
  await (await came).showModal(new ModalBuilder().setCustomId('m:no').setTitle('Deny').addComponents(
    new ActionRowBuilder().addComponents(new TextInputBuilder().setCustomId('comment').setLabel('Why').setStyle(TextInputStyle.Short))));
  came = next(client, Events.InteractionCreate, (i) => i.isModalSubmit());
  await control('submit', { interaction: asked.interaction, values: { comment: 'too late' } });
  const submit = await came;
  assert.deepEqual([submit.customId, submit.fields.getTextInputValue('comment'), submit.message.id], ['m:no', 'too late', card.id]);
  await submit.update({ content: 'denied', components: [] });
  const stands = (await shown('general')).find((m) => m.id === card.id);
  assert.deepEqual([stands.content, stands.components], ['denied', []]);
});

test('an interaction ends: after 3 s unanswered, and its token after its time', async () => {
  await control('settings', { answer_within: 0.05, token_life: 1 });
  const late = await command();
  await new Promise((done) => setTimeout(done, 150));
  await assert.rejects(late.deferReply(), /Unknown interaction/);
  await control('settings', { answer_within: 3 });
  const spent = await command();
  await spent.deferReply();
  await new Promise((done) => setTimeout(done, 1100));
  await assert.rejects(spent.editReply('too late'), /Invalid Webhook Token/);
  await control('settings', { token_life: 900 });
});

test('rate limits: per route, global, and a broken gateway in front', async () => {
  await control('settings', { limits: { 'POST /channels/{channel_id}/messages': [3, 0.5] } });
  const channel = await client.channels.fetch((await state()).channels.other);
  await Promise.all([...Array(8).keys()].map((n) => channel.send(`n${n}`)));
  assert.deepEqual((await shown('other')).map((m) => m.content), [...Array(8).keys()].map((n) => `n${n}`));
  await control('faults', [{ method: 'POST', path: '/messages$', kind: '429_global', retry_after: 0.3 }]);
  await channel.send('after a global limit');
  await control('faults', [{ method: 'POST', path: '/messages$', kind: 'error', status: 502, times: 2 }]);
  await channel.send('after two errors');
  assert.equal((await shown('other')).at(-1).content, 'after two errors');
  await control('settings', { limits: { 'POST /channels/{channel_id}/messages': [1000, 1] } });
});

test('refusals', async () => {
  const channel = await client.channels.fetch((await state()).channels.other);
  await assert.rejects(channel.send({ content: 'x'.repeat(2001) }), /2000 or fewer/);
  await assert.rejects(channel.send({ embeds: [{ description: 'x'.repeat(4097) }] }), /4097|too long|Invalid Form Body/);
  await assert.rejects(channel.send({ content: ' ' }), /empty message/);
  for (const [access, code] of [['closed', 50001], ['mute', 50013], ['blocked', 50007]]) {
    await control('access', { channel: 'other', access });
    await assert.rejects(channel.send('x'), { code });
  }
  await control('access', { channel: 'other', access: 'open' });
  await assert.rejects(channel.messages.edit('1234567', 'x'), { code: 10008 });
});

/** Until the fake and the client both know it: a connection that breaks before the client does costs it a minute. */
async function comesBack(how, resumed) {
  const before = await counted(resumed ? 'resumed' : 'identified');
  const known = next(client, Events.Raw, (packet) => packet.t === (resumed ? 'RESUMED' : 'READY'));
  await Promise.all([known, how()]);
  await until(async () => {
    const { counts, live } = await state();
    return (counts[resumed ? 'resumed' : 'identified'] ?? 0) > before && live === 1;
  });
}
const order = (body) => () => control('gateway', body);

test('the session: op 7, a dropped socket, op 9 both ways, closes; what was said meanwhile is replayed', async () => {
  await comesBack(order({ do: 'reconnect' }), true);
  const came = next(client, Events.MessageCreate, (m) => m.content.endsWith('while away'));
  await comesBack(async () => {
    await control('gateway', { do: 'drop' });
    await control('message', { person: 'ann', channel: 'general', text: 'while away', mention: true });
  }, true);
  await came;
  await comesBack(order({ do: 'close', code: 4000 }), true);
  await comesBack(order({ do: 'close', code: 4009 }), false);
  await comesBack(order({ do: 'invalid', resumable: true }), true);
  await comesBack(order({ do: 'invalid', resumable: false }), false);
});

test('heartbeats at the asked interval, at once when asked; silence is a zombie', async () => {
  await control('settings', { heartbeat_interval: 400 });
  await comesBack(order({ do: 'reconnect' }), true);
  const beats = await counted('heartbeat');
  await until(async () => (await counted('heartbeat')) >= beats + 3);
  const asked = await counted('heartbeat');
  await control('gateway', { do: 'ask_beat' });
  await until(async () => (await counted('heartbeat')) > asked);
  await comesBack(order({ do: 'mute' }), true);
  await control('settings', { heartbeat_interval: 41250 });
  await comesBack(order({ do: 'reconnect' }), true);
});

test('intents that were not granted, and a wrong token, end it', async () => {
  await assert.rejects(login([GatewayIntentBits.Guilds, GatewayIntentBits.MessageContent]), /disallowed intents/i);
  const stranger = new Client({ intents: [], rest: { api: `${url}/api` } });
  await assert.rejects(stranger.login('MTAw.another.token'), /invalid token/i);
});

test('interactions over HTTP: signed, verified by discord-interactions, forged and old ones told apart', async () => {
  const key = (await state()).key;
  const server = http.createServer((request, answer) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', async () => {
      const body = Buffer.concat(parts);
      const stamp = request.headers['x-signature-timestamp'];
      if (!await verifyKey(body, request.headers['x-signature-ed25519'] ?? '', stamp, key)) return answer.writeHead(401).end('bad');
      const told = JSON.parse(body);
      const type = told.type === 1 ? InteractionResponseType.PONG : InteractionResponseType.DEFERRED_CHANNEL_MESSAGE_WITH_SOURCE;
      return answer.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify({ type }));
    });
  });
  await new Promise((done) => server.listen(0, '127.0.0.1', done));
  await control('settings', { interactions_url: `http://127.0.0.1:${server.address().port}/` });
  assert.deepEqual(await control('ping', {}), { status: 200, body: '{"type":1}' });
  for (const forge of ['key', 'body', 'none']) assert.equal((await control('ping', { forge })).status, 401, forge);
  const asked = await control('command', { person: 'ann', channel: 'general', options: runOption });
  assert.equal(asked.status, 200);
  assert.equal((await control(`interaction/${asked.interaction}`)).answer, 5);
  await control('settings', { interactions_url: '' });
  server.close();
});

test('a revoked token ends the session for good', async () => {
  const ended = next(client, Events.Invalidated).catch((error) => error);
  const disconnected = next(client, Events.ShardDisconnect).catch(() => 0);
  await control('token', { token: 'another' });
  await Promise.race([ended, disconnected]);
  await assert.rejects(client.rest.get('/users/@me'), /401|Unauthorized/);
  await client.destroy();
  const { flaws } = await state();
  assert.deepEqual(flaws, []);
});
