# SPDX-License-Identifier: Apache-2.0
"""The names that Blender gives new objects, in every language that it speaks: they say nothing of what a thing is.

Single words, in lower case: those of its English interface, and their translations in the catalogues of Blender 4.3.
Left out are translations that are telling words of English (the Italian plane is a "piano"), or are used for more.
"""

from __future__ import annotations

ENGLISH = frozenset(
    """
    armature bezier bézier box cloud gpencil patch surf camera circle collection cone cube curve curves cylinder default
    empty face grid group hair ico icosphere
    instance instances joined lattice light line mball mesh metaball model new nurbs obj object part path plane point
    pointcloud poly
    polygon polysurface prop props roundcube scene shape sphere spline suzanne surface surfcircle surfcurve surfcylinder
    surfpatch surfsphere surftorus text torus tri triangle uv uvsphere vert volume
    """.split()
)
TRANSLATED = frozenset(
    """
    adegan adesivo apskritimas armatur armatura armatúra armatür armação ağ bana bandagem benda besedilo bidang bod
    bodové bol boş buit bình bản bề bộ caminho camí camínurbs cerchio cercle chemin chấm cilindras cilindre cilindro
    cirkel colección colecção coleção collectie cong cono contoh corba corbes courbe courbes csontváz csoport
    cuadrícula cubo curbe curbă curva curvas cylindre các círculo cône cảnh cầu daire diện dráha dış dẫn
    egzempliorius escena esfera esferizar esférico eskeletoa esquelet esqueleto eszena eğri eğriler eğrisi fantasma
    felület fläche gambar gardelė geodésica geometrická gitter giác grade graella grelha gridi griglia grille groep
    groupe grup grupa grupo grupp gruppe gruppo grupė gurup guľa guľový gömb görbe görbék halka henger hutsa hình
    icokugel icopallo icosaédrica icosfera icosphère ico球 iko ikosfera ikosphere instancia instancja instans
    instanssi instanz instància instância inštancia istanza izgara i̇kosfer iкосфера jala jalur jelenet kachel kafes
    kamera kartio kavez kegel kelias kelompok kerangka kerucut ketrec khung khỉ khối kitu kocka kohtaus kokoelma
    kolekce kolekcia kolekcija kolekcja koleksi koleksiyon kollekció kon koni konoa kontrolna kosong kostur koule
    kratka kratownica kreis kreivė kreivės kriva krive krivka krivky krivulja krivulje krog kromme krommes krožnica
    krug kruh kruhu krychle krzywa krzywe kub kuboa kubus kugel kukomaa kulové kundi kurba kurva kurve kurven kurver
    kurvor kuutio kužel kužeľ kvader käyrä käyrät kör kúp küp küre küresi křivka křivky kūgis lecció leeg leer
    lingkaran lopta luuranko lưới lập maandishi maillage majmun malha malla mallas mandhari masche matundu mawimbi
    mballe mbola mchemraba mduara mesf meta metabol metabola metabold metaboll metakula metapallo metažoga metin meš
    mfano mgömb miguu mipinde miviringo mkusanyiko mnohosten morceau mpira mreža mriežka muoto mviringo mzunguko
    métaballe mříž mřížka mặt nesne nhóm nhị njia nokta nurbscurve nurbspath nurbsścieżka nurbsкрива nurbsბილიკი
    nurbsწირი nurbsカーブ nurbsパス nurbs曲線 nurbs曲线 nurbs路径 nurbs路徑 nón oberfläche oberflächen obiect obiekt
    objecte objecto objekat objekt objektas objekti objektua objektum objet objeto objetos oggetto okrąg oppervlak
    overflade pallo parche paviršius pedaçsuperf percorso permukaan pezza pfad phương phẳng piste plano planoa
    plocha ploča polisfera polku povrch povrchová površ površi površina pow powierzchnia powłata praznica prazno
    primerek prsten prstenca prstenec prázdne prázdny prázdný punct punkt punto puntu pusty putanja płaszczyzna
    quadrícula raccolta radijalna raster ravnina regularna reticolo retícula rešetka rinkinys rovina ruta rutnät
    ruudukko ryhmä rào rács rối rỗng sahne samling sammlung sarea scen scena scenă scimmia scène scéna sfera
    sferično sferyczne sfär sféra siatka sieť silinda silinder silindir silindiri siêu skelet skelett skellet
    skupina sphère stożek stožec subdividido superfice superficie superfície susanna suzana sylinteri szene sześcian
    szkielet szöveg säleikkö síklap síť sörf sưu tambah taso tačka teks tekst tekstas teksti test testo testua texte
    texto textos thập thể thị thực tinklelis titik tomobjekt topu tore toroidal toroide torua torusu toróide točka
    trayectoria treliça tròn trống trụ tufe tulang tuščia tyhjä térháló tórusz tượng tập uv球 uçak vacío valca valec
    valj valjak vazio vlak vuoto válec vòng văn walec würfel xuyến yaması ympyrä yol yolu yta yüzey zilindroa
    zirkulua zuzana zuzanna zylinder záplaty çemberi örgü örnek útvonal üres üst đi điểm đường đầu đều đối đồ
    ścieżka αντικείμενο γκρουπ δαχτυλίδι επίπεδο επιφάνεια καμπύλη κείμενο κενό κύβος κύκλος κύλινδρος κώνος μετα
    μονοπάτι πλέγμα πολύγωνα σημείο σκελετός σκηνή σφαίρα абаҩ агәыԥ аицыгьежь аконус акуб амаҭәар арматура архәара
    асфера ацилиндр аҟьаҟьа аҭацәы аҭыџьеихац аҳәоу аҿарҧага бет боштук ваљак група группа жол ийри икосаэдр
    икосфера источник кавез колекция колекція коллекция коло конус костур коцка крива криваповерхні кривая
    криваяnurbs криве кривые криві круг куб купа лопта мајмун мета метакуля метампы метампыл метасфера меш мрежа
    мсфера нурбс об обект объект објекат окружность плоскость плоча площина поверхность поверхня поверхняділянка
    поверхняколо поверхнясфера поверхнятор површ површи политор порожня порожняк празно прстен пустышка путања путь
    равнина радијална решетка решётка решітка сахна сетка скелет сфера сферическая сферический сцена сызык сюзанна
    сёрфкривая сёрфокружность сёрфсфера сёрфтор сёрфучасток сітка сіть тачка тегерек тегиздик текст топ тор тороид
    торус точечный точка траекторияnurbs траєкторіяnurbs цилиндр цилиндър циліндр шлях экземпляр єкт іко ґратка ביתנ
    הנצס חטשמ טסקט ףסוא ءﯽﺷ खाली गोला घन चक्र जाल जालक टोरस्र्स ठेगाना दृश्य पथ पाठ बिंदु बेलन वक्र वस्तु शंकु सतह
    समतल समूह ஆர்மேச்சர் உரை எம்பால் ஐ ஐகோச்பியர் ஓ கட்டம் கண்ணி கன காட்சி குழு கூம்பு கோளம் சர்ஃபுர்வ்
    சர்ஃபைலைண்டர் சர்ஃப்சர்க் சர்பாட்ச் சர்போரச் சர்ப்ச்பியர் சான்று சி சிலிண்டர் சுசேன் சேகரிப்பு டோரச் நட்டு பாதை
    புறஊதா புள்ளி பொருள் மாற்ற மேற்பரப்பு வட்டம் வளர்சிதை வளைவு வளைவுகள் வானூர்தி வெறுமை กระจาย กลม กลุ่ม ข้อความ
    จุด ฉาก ชุด ช่องตาข่าย ช้อความ ซูซาน ตาราง ทรงกรวย ทรงกระบอก ทรงกลม ทอรัส พื้นผิว ระนาบ ลูกบาศก์ วงกลม วัตถุ
    ว่างเปล่า เมช เมตาบอล เมต้าบอล เส้นทาง เส้นโค้ง โครงร่าง არმატურა აჲკო აჲკოსფერო ბადე ბეზიე ბურთი გისოსები ზედ
    ზედაპირი ინსტანცია კოლექცია კონუსი კუბი მ მეტაბურთი მეში მისამართი ნაგლეჯი ნათურა ობიექტი სიბრტყე სფერო სცენა
    სჲუზენი ტექსტი ტორუსი ტრაექტორია ცარიელი ცილინდრი წერტილი წერტილოვანი წირები წირი წრე ჯგუფი アーマチュア
    インスタンス エンプティ オブジェクト カーブ キューブ グリッド グループ コレクション サーフェス サーフェスカーブ
    サーフェストーラス サーフェスパッチ サーフェス円 サーフェス円柱 サーフェス球 シーン スザンヌ テキスト トーラス
    パス ブランク ベジエ ポイント メタボール メッシュ モンキー ラティス 円 円柱 円錐 圆形 圆环 圓 圓形 圓柱體 圓錐體
    场景 場景 实例 實例 平面 文字 文本 新カーブ 晶格 曲 曲線 曲线 曲面 曲面圆 曲面圓 曲面柱 曲面片 曲面环 曲面球
    曲面球體 曲面環體 曲面線 曲面线 柱体 栅格 格線 棱角球 点 点光 物体 物體 环体 球 球体 球形 球形化 球状 球體 環體
    空 空物体 空白体积 空白蜡笔 空體 立方 立方体 立方體 網格 组 经纬球 网格 群組 群组 苏珊娜 蘇珊猴 融球 表 表面
    變幻球 贝塞尔 路径 路径曲线 路徑 锥体 锥形 集合 集盒 面 骨架 點 點光 격자 경로 구체 그룹 넙스 래티스 메쉬 메타볼
    서프 수잔 실린더 씬 아마튜어 아이코 아이코스피어 엠프티 오브젝트 원뿔 원형 커브 컬렉션 큐브 텍스트 토러스 패치
    평면 포인트 표면 ﭻﯿﭘ ﮈﺮﮔ ﮟﯿﻤﺧ ﮦﺮﮐ ﮦﺮﺋﺍﺩ ﮦﻭﺮﮔ ﮧﺘﺳﺍﺭ ﮧﻄﻘﻧ ﮧﻋﻮﻤﺠﻣ ﯼﻭﻮﯾ ﯽﺋﻻ ﯽﺤﻄﺳ ﯽﻟﺎﺟ ﯽﻟﺎﺧ ﯽﻨﺤﻨﻣ ﺎﭩﯿﻣ ﺏﺮﻧ ﺐﻌﮑﻣ ﺐﻌﻜﻣ
    ﺓﺮﺋﺍﺩ ﺓﺮﻛ ﺔﻄﻘﻧ ﺔﻋﻮﻤﺠﻣ ﺔﻌﻗﺭ ﺔﻜﺒﺷ ﺔﻠﻋﺎﻔﺘﻣ ﺔﻧﺍﻮﻄﺳﺃ ﺕﺎﺜﻠﺜﻣ ﺕﺎﺜﻠﺜﻤﻟﺍ ﺕﺎﻴﻨﺤﻨﻣ ﺕﺎﻴﻨﺤﻨﻤﻟﺍ ﺢﻄﺳ ﺢﻄﺴﻣ ﺪﻬﺸﻣ ﺭﮉﻨﻠﺳ ﺭﺎﺴﻤﻟﺍ
    ﺭﺎﻃﺍ ﺮﭽﯿﻣﺭﺁ ﺮﭽﻣﺭﺁ ﺮﯾﺰﯿﺑ ﺮﯿﺴﻣ ﺮﻈﻨﻣ ﺰﯿﭼ ﺱﺭﻮﭨ ﺲﺑﺮﻧ ﺶﻣ ﺺﻧ ﺺﻨﻟﺍ ﻁﻭﺮﺨﻣ ﻑﺮﺳ ﻒﺿﺍ ﻝﺎﺑ ﻝﺎﺜﻣ ﻝﺎﺟ ﻞﮐﺮﺳ ﻞﻜﻴﻫ ﻢﺧ ﻢﺴﺠﻣ ﻦﯾﺯﻮﺳ
    ﻦﯿﻠﭘ ﻦﺋﺎﻜﻟﺍ ﻦﺘﻣ ﻩﺮﮐ ﻩﺮﯾﺍﺩ ﻩﻭﺮﮔ ﻪﮑﺒﺷ ﻪﺤﻔﺻ ﻪﻨﺤﺻ ﻮﮔ ﻰﻨﺤﻨﻣ ﻲﻤﻫﻭ
    """.split()
)
DEFAULT_WORDS = ENGLISH | TRANSLATED
"""Words of default names, in lower case."""
