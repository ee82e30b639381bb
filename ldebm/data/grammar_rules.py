"""The rules of the grammar corpus.

Attributes with their probabilities, features, rules in `pcfg` notation.

Every word may follow "a" (none begins with a vowel sound), and every past form is also the
participle of the passive. Some words serve several topics (bar, club, fan, play …), so that a
sentence can have more than one reading.
"""

ATTRIBUTES = {
    "topic": {"food": 0.25, "music": 0.25, "sport": 0.2, "travel": 0.15, "finance": 0.15},
    "sentiment": {"positive": 0.4, "negative": 0.3, "neutral": 0.3},
    "tense": {"past": 0.5, "present": 0.3, "future": 0.2},
    "form": {"active": 0.6, "passive": 0.2, "question": 0.2},
}

FEATURES = {
    **{name: tuple(values) for name, values in ATTRIBUTES.items()},
    "number": ("singular", "plural"),
    "verbform": ("base", "third", "past"),
}

RULES = """
# Sentences
Sentence[topic,sentiment,tense,active] = Clause[topic,sentiment,tense] . 5
    | Time[tense] Clause[topic,sentiment,tense] . 1
    | Clause[topic,sentiment,tense] Time[tense] . 2
    | Action[topic,sentiment,tense] Comment[topic,sentiment,tense] . 2
Sentence[topic,sentiment,tense,passive] = Passive[topic,sentiment,tense] . 4
    | Passive[topic,sentiment,tense] Place[topic] . 2
    | Passive[topic,sentiment,tense] Time[tense] . 2
Sentence[topic,sentiment,tense,question] = Question[topic,sentiment,tense] ? 3
    | Asking Question[topic,sentiment,tense] ? 2

# Clauses
Clause[topic,sentiment,tense] = Action[topic,sentiment,tense] 4
    | Action[topic,sentiment,tense] Place[topic] 3
    | Description[topic,sentiment,tense] 3
Action[topic,sentiment,tense]
    = Agent[topic,sentiment,singular] Verb[topic,sentiment,tense,singular] Object[topic,sentiment] 2
    | Agent[topic,sentiment,plural] Verb[topic,sentiment,tense,plural] Object[topic,sentiment] 1
Description[topic,sentiment,tense] = Described[topic,singular] State[sentiment,tense,singular] 2
    | Described[topic,plural] State[sentiment,tense,plural] 1
Described[topic,number] = Determiner[number] Thing[topic,number] 3
    | Determiner[number] Person[topic,number] 2
Comment[topic,sentiment,tense] = Link it State[sentiment,tense,singular] 2
    | Link the Thing[topic,singular] Be[tense,singular] Quality[sentiment] 2
    | Link the Thing[topic,plural] Be[tense,plural] Quality[sentiment] 1
Passive[topic,sentiment,tense] = PassivePart[topic,sentiment,tense,singular] 2
    | PassivePart[topic,sentiment,tense,plural] 1
PassivePart[topic,sentiment,tense,number]
    = Goods[topic,sentiment,number] Be[tense,number] Acting[topic,sentiment,past] 1
    | Goods[topic,sentiment,number] Be[tense,number] Acting[topic,sentiment,past] by
      People[topic,sentiment,singular] 1
    | Goods[topic,sentiment,number] Be[tense,number] Acting[topic,sentiment,past] by
      People[topic,sentiment,plural] 1
Question[topic,sentiment,tense] = Asked[topic,sentiment,tense] 3
    | Asked[topic,sentiment,tense] Place[topic] 1
    | Asked[topic,sentiment,tense] Time[tense] 1
Asked[topic,sentiment,tense]
    = Do[tense,singular] Agent[topic,sentiment,singular] Acting[topic,sentiment,base]
      Object[topic,sentiment] 2
    | Do[tense,plural] Agent[topic,sentiment,plural] Acting[topic,sentiment,base]
      Object[topic,sentiment] 1

# Noun phrases
Agent[topic,sentiment,number] = People[topic,sentiment,number] 4 | Pronoun[number] 1
People[topic,sentiment,number] = Determiner[number] Person[topic,number] 3
    | Determiner[number] Adjective[sentiment] Person[topic,number] 2
Object[topic,sentiment] = Goods[topic,sentiment,singular] 6 | Goods[topic,sentiment,plural] 3
    | Determiner[singular] Thing[topic,singular] Place[topic] 1 | it 1
Goods[topic,sentiment,number] = Determiner[number] Thing[topic,number] 2
    | Determiner[number] Quality[sentiment] Thing[topic,number] 3
Place[topic] = Preposition the Venue[topic] 4 | Preposition the Adjective[neutral] Venue[topic] 1

# Verb phrases
Verb[topic,sentiment,past,number] = Acting[topic,sentiment,past]
Verb[topic,sentiment,present,singular] = Acting[topic,sentiment,third]
Verb[topic,sentiment,present,plural] = Acting[topic,sentiment,base]
Verb[topic,sentiment,future,number] = will Acting[topic,sentiment,base]
Acting[topic,sentiment,verbform] = Act[topic,sentiment,verbform] 3
    | Adverb[sentiment] Act[topic,sentiment,verbform] 1
Act[topic,sentiment,verbform] = Doing[topic,verbform] 3 | Feeling[sentiment,verbform] 2

# States: "is not bad" praises
State[positive,tense,number] = Be[tense,number] Quality[positive] 6
    | NotBe[tense,number] Adjective[negative] 1
State[negative,tense,number] = Be[tense,number] Quality[negative] 5
    | NotBe[tense,number] Quality[positive] 2
State[neutral,tense,number] = Be[tense,number] Quality[neutral] 5
    | NotBe[tense,number] Quality[neutral] 2
Quality[sentiment] = Adjective[sentiment] 4 | Degree Adjective[sentiment] 1
Adjective[positive] = Good 4 | Plain 1
Adjective[negative] = Bad 4 | Plain 1
Adjective[neutral] = Plain

# Function words
Be[past,singular] = was
Be[past,plural] = were
Be[present,singular] = is
Be[present,plural] = are
Be[future,number] = will be
NotBe[past,number] = Be[past,number] not
NotBe[present,number] = Be[present,number] not
NotBe[future,number] = will not be
Do[past,number] = did
Do[present,singular] = does
Do[present,plural] = do
Do[future,number] = will
Determiner[singular] = the 6 | a 4 | this 2 | my 1 | every 1
Determiner[plural] = the 5 | some 2 | my 2 | these 1 | many 1
Pronoun[singular] = she | he
Pronoun[plural] = they 3 | we 2
Preposition = in 3 | near 2 | behind 1
Link = and 3 | because 3 | but 1 | while 1
Asking = why 2 | when 2 | how 1
Degree = very 4 | really 2 | truly 1
Time[past] = yesterday 3 | last week 2 | last night 1 | today 1
Time[present] = today 3 | now 2 | every day 1
Time[future] = tomorrow 3 | next week 2 | today 1

# Words of a sentiment
Good = good 6 | great 4 | wonderful 2 | lovely 2 | brilliant 1 | splendid 1
Bad = bad 6 | terrible 3 | horrible 2 | poor 2 | dreadful 1 | boring 1
Plain = new 4 | big 3 | small 2 | local 2 | famous 1 | modern 1
Adverb[positive] = gladly 3 | happily 2 | quickly 1
Adverb[negative] = sadly 3 | reluctantly 2 | slowly 1
Adverb[neutral] = quickly 2 | slowly 2 | quietly 1
Feeling[positive,base] = love 3 | enjoy 2 | praise 1
Feeling[positive,third] = loves 3 | enjoys 2 | praises 1
Feeling[positive,past] = loved 3 | enjoyed 2 | praised 1
Feeling[negative,base] = hate 3 | dislike 2 | mock 1
Feeling[negative,third] = hates 3 | dislikes 2 | mocks 1
Feeling[negative,past] = hated 3 | disliked 2 | mocked 1
Feeling[neutral,base] = describe 3 | mention 2 | notice 1
Feeling[neutral,third] = describes 3 | mentions 2 | notices 1
Feeling[neutral,past] = described 3 | mentioned 2 | noticed 1

# Words of a topic
Person[food,singular] = waiter 3 | chef 2 | guest 2 | friend 1
Person[food,plural] = waiters 3 | chefs 1 | guests 3 | friends 2
Person[music,singular] = singer 3 | drummer 1 | band 2 | fan 1 | friend 1
Person[music,plural] = singers 2 | drummers 1 | bands 2 | fans 3 | friends 1
Person[sport,singular] = player 3 | coach 2 | team 2 | fan 1
Person[sport,plural] = players 4 | coaches 1 | teams 2 | fans 3
Person[travel,singular] = tourist 3 | guide 2 | pilot 1 | guest 1 | friend 1
Person[travel,plural] = tourists 4 | guides 1 | pilots 1 | guests 2 | friends 2
Person[finance,singular] = banker 3 | trader 2 | broker 1 | friend 1
Person[finance,plural] = bankers 3 | traders 3 | brokers 2
Thing[food,singular] = meal 3 | soup 2 | dinner 2 | cake 1
Thing[food,plural] = meals 3 | soups 1 | dinners 1 | cakes 2
Thing[music,singular] = song 4 | concert 2 | record 1
Thing[music,plural] = songs 4 | concerts 1 | records 2
Thing[sport,singular] = game 3 | match 3 | race 1
Thing[sport,plural] = games 3 | matches 2 | races 1
Thing[travel,singular] = trip 3 | flight 2 | tour 2 | room 1
Thing[travel,plural] = trips 2 | flights 3 | tours 1 | rooms 1
Thing[finance,singular] = loan 3 | deal 2 | fund 1
Thing[finance,plural] = loans 2 | deals 2 | funds 1 | shares 3
Venue[food] = restaurant 3 | kitchen 2 | bar 2 | hotel 1
Venue[music] = hall 3 | club 2 | bar 1 | studio 1
Venue[sport] = stadium 3 | club 1 | park 1
Venue[travel] = city 3 | hotel 3 | park 1
Venue[finance] = bank 3 | market 2 | city 1
Doing[food,base] = serve 3 | cook 2 | taste 1
Doing[food,third] = serves 3 | cooks 2 | tastes 1
Doing[food,past] = served 3 | cooked 2 | tasted 1
Doing[music,base] = play 4 | record 1 | hear 2
Doing[music,third] = plays 4 | records 1 | hears 2
Doing[music,past] = played 4 | recorded 1 | heard 2
Doing[sport,base] = win 3 | lose 2 | play 2
Doing[sport,third] = wins 3 | loses 2 | plays 2
Doing[sport,past] = won 3 | lost 2 | played 2
Doing[travel,base] = book 3 | plan 2 | sell 1
Doing[travel,third] = books 3 | plans 2 | sells 1
Doing[travel,past] = booked 3 | planned 2 | sold 1
Doing[finance,base] = sell 3 | buy 3 | reject 1
Doing[finance,third] = sells 3 | buys 3 | rejects 1
Doing[finance,past] = sold 3 | bought 3 | rejected 1
"""
