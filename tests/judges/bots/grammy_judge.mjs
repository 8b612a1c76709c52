// grammY, as https://grammy.dev shows it; `npm ci` in the folder above installs it.

import { createHash } from "node:crypto";
import { env, stdin } from "node:process";

import { Bot, GrammyError, InlineKeyboard, InputFile, InputMediaBuilder, Keyboard } from "grammy";

const url = env.TELEGRAM_API_URL;
const token = env.BOT_TOKEN;
const picture = (name) => new InputFile(`${env.PICTURES}/${name}`);
const told = (step, facts) => `${step} ${JSON.stringify(facts)}`;

const NO_MESSAGE = 999_999;

const bot = new Bot(token, { client: { apiRoot: url } });

bot.command("start", async (ctx) => {
  const me = await ctx.api.getMe();
  const commands = await ctx.api.getMyCommands();
  const keyboard = new InlineKeyboard().text("Press me", "pressed");
  const sent = await ctx.reply("Hello", { reply_markup: keyboard });
  const facts = {
    username: me.username,
    commands: Object.fromEntries(commands.map((each) => [each.command, each.description])),
    message_id: sent.message_id,
    button: sent.reply_markup.inline_keyboard[0][0].callback_data,
  };
  await ctx.reply(told("start", facts));
});

bot.callbackQuery("pressed", async (ctx) => {
  const answered = await ctx.answerCallbackQuery("Done");
  const edited = await ctx.editMessageText("Pressed");
  const facts = {
    answered,
    message_id: edited.message_id,
    text: edited.text,
    edited: edited.edit_date !== undefined,
  };
  await ctx.reply(told("press", facts));
});

bot.command("keyboard", async (ctx) => {
  const sent = await ctx.reply("Choose", { reply_markup: new Keyboard().text("Red").text("Blue").resized() });
  await ctx.reply(told("keyboard", { message_id: sent.message_id }));
});

bot.command("photo", async (ctx) => {
  const sent = await ctx.replyWithPhoto(picture("one.png"), { caption: "One <picture>" });
  const largest = sent.photo.at(-1);
  const facts = {
    message_id: sent.message_id,
    file_size: largest.file_size,
    width: largest.width,
    caption: sent.caption,
  };
  await ctx.reply(told("photo", facts));
});

bot.command("album", async (ctx) => {
  const sent = await ctx.replyWithMediaGroup([
    InputMediaBuilder.photo(picture("one.png"), { caption: "Two pictures" }),
    InputMediaBuilder.photo(picture("two.png")),
  ]);
  const facts = {
    message_ids: sent.map((each) => each.message_id),
    groups: new Set(sent.map((each) => each.media_group_id)).size,
    file_sizes: sent.map((each) => each.photo.at(-1).file_size),
    captions: sent.map((each) => each.caption ?? null),
  };
  await ctx.reply(told("album", facts));
});

bot.on("message:document", async (ctx) => {
  const file = await ctx.getFile();
  const answer = await fetch(`${url}/file/bot${token}/${file.file_path}`);
  const content = Buffer.from(await answer.arrayBuffer());
  const facts = {
    file_name: ctx.message.document.file_name,
    file_size: file.file_size,
    sha256: createHash("sha256").update(content).digest("hex"),
  };
  await ctx.reply(told("file", facts));
});

bot.command("poll", async (ctx) => {
  const sent = await ctx.replyWithPoll("Tea or coffee?", ["Tea", "Coffee"], { is_anonymous: false });
  const facts = {
    message_id: sent.message_id,
    poll_id: sent.poll.id,
    options: sent.poll.options.map((option) => option.text),
    anonymous: sent.poll.is_anonymous,
  };
  await ctx.reply(told("poll", facts));
});

bot.on("poll_answer", async (ctx) => {
  const { poll_id, user, option_ids } = ctx.pollAnswer;
  await ctx.api.sendMessage(user.id, told("vote", { poll_id, user_id: user.id, option_ids }));
});

bot.command("refusal", async (ctx) => {
  try {
    await ctx.api.editMessageText(ctx.chat.id, NO_MESSAGE, "Nothing");
  } catch (error) {
    if (!(error instanceof GrammyError)) throw error;
    await ctx.reply(told("refusal", { description: error.description }));
  }
});

bot.command("flood", async (ctx) => {
  try {
    await ctx.reply("Too much");
  } catch (error) {
    if (!(error instanceof GrammyError)) throw error;
    await ctx.reply(told("flood", { retry_after: error.parameters.retry_after }));
  }
});

bot.on("message:text", async (ctx) => {
  const sent = await ctx.reply(ctx.message.text, { reply_parameters: { message_id: ctx.message.message_id } });
  const facts = {
    message_id: sent.message_id,
    text: sent.text,
    reply_to: sent.reply_to_message.message_id,
  };
  await ctx.reply(told("echo", facts));
});

stdin.resume().on("end", () => process.exit(1)); // a judgement that was cut short leaves no bot behind
await bot.api.setMyCommands([
  { command: "start", description: "Say hello" },
  { command: "photo", description: "Send a photo" },
]);
await bot.start();
